-- The invariants of a step, checked from outside: from what was submitted, the steps that came out and
-- the results that went in. Keeps books of its own and believes none of the engine's.
local lib = require "gdnmeta.native"

local M = {}

local Books = {}
Books.__index = Books

local function check(condition, where, format, ...)
  if not condition then error(where .. ": " .. format:format(...), 0) end
end

function Books:submit(request)
  local cached = request.checkpoint and request.checkpoint.tokens or 0
  self.live[request.id] = {
    id = request.id, prompt = request.prompt_tokens, max = request.max_tokens, known = request.prompt_tokens,
    computed = cached, cached = cached, drafts = 0, placeholders = 0, accepted = 1, last_drafts = 0,
    emitted = 0, waits = true, flight = 0,
  }
  self.arrived = self.arrived + 1
end

-- I9, I10, I11.
local function check_chunk(self, where, q, n)
  local c = self.config
  if (c.threshold or 0) > 0 then check(n <= c.threshold, where, "I9: chunk of %d", n) end
  if c.chunked == false then check(n == q.known - q.computed, where, "I10: chunk of %d", n) end
  if not c.align then return end
  local boundary = math.floor(q.known / c.block) * c.block
  if c.num_spec > 0 then boundary = math.max(boundary - c.block, 0) end
  if q.computed + n < boundary then
    check(n % c.block == 0, where, "I11: chunk of %d short of the boundary %d", n, boundary)
  end
  check(q.computed >= boundary or q.computed + n <= boundary, where, "I11: chunk of %d crosses %d", n,
        boundary)
end

local function region(c, q, n)
  if q.computed == 0 then return 3 end
  if n > c.reorder_threshold then return 2 end
  return q.computed >= q.prompt and 0 or 1
end

local function check_row(self, where, step, row, q, drafting)
  local c, n, drafts = self.config, step.query_len[row], step.drafts[row]
  local known = q.known + q.placeholders
  check(n >= 1, where, "I2: %d tokens", n)
  check(q.computed + n <= known + q.drafts, where, "I5: %d tokens, known %d, computed %d", n, known,
        q.computed)
  check(q.computed + n <= c.max_model_len - 1, where, "I6: ends at %d", q.computed + n)
  local used = math.max(0, n + q.computed - known)
  local is_decode = q.computed >= q.prompt and n == 1 + used and q.computed + 1 >= known
  if is_decode and drafting then
    check(drafts == used, where, "I7, I8: %d drafts used, the row says %d", used, drafts)
  else
    check(drafts == -1 and used == 0, where, "I8: %d drafts used, the row says %d", used, drafts)
  end
  check(used <= c.num_spec, where, "I7: %d drafts", used)
  if not is_decode then check_chunk(self, where, q, n) end
  check(step.seq_len[row] == q.computed + n, where, "I18: seq_len %d", step.seq_len[row])
  check(q.accepted >= 1 and q.accepted <= 1 + q.last_drafts, where, "I15: accepted %d after %d drafts",
        q.accepted,
        q.last_drafts)
  check(step.last_accepted[row] == q.accepted, where, "I15: accepted %d, the row says %d", q.accepted,
        step.last_accepted[row])
  check(step.samples[row] == (q.computed + n >= known and 1 or 0), where, "samples %d", step.samples[row])
  return used, is_decode
end

-- I13, I14: every block that a live request's table row holds has one owner, and only a block held by
-- several may stand in several rows.
local function check_slots(self, where)
  local e = self.engine
  local s = e.states
  for group = 0, s.groups - 1 do
    local rows_of, used = {}, 0
    for seat = 0, e.config.max_requests - 1 do
      for column = 0, s.width - 1 do
        local slot = s.cells[group][seat * s.width + column]
        if slot ~= 0 then
          check(slot > 0 and slot < e.config.num_slots[group], where, "I13: slot %d", slot)
          rows_of[slot] = (rows_of[slot] or 0) + 1
        end
      end
    end
    for slot, rows in pairs(rows_of) do
      local holders = lib.gdn_slots_holders(s.pools, group, slot)
      check(holders >= rows, where, "I13: slot %d stands in %d rows and has %d holders", slot, rows, holders)
    end
    for slot = 1, e.config.num_slots[group] - 1 do
      if lib.gdn_slots_holders(s.pools, group, slot) > 0 then used = used + 1 end
    end
    local free = lib.gdn_slots_available(s.pools, group)
    check(free + used == e.config.num_slots[group] - 1, where, "I23: %d slots free, %d used", free, used)
  end
end

-- I17 and I16, in the metadata.
local function check_metadata(where, step, starts, fresh)
  local meta, tokens = step.metadata, 0
  local qsl = meta.num_spec_decodes == 0 and meta.non_spec_query_start_loc
  if not qsl then return end
  for row = 0, step.num_rows - 1 do
    check(qsl[row] == starts[row], where, "I17: row %d starts at %d, want %d", row, qsl[row], starts[row])
    tokens = tokens + step.query_len[row]
  end
  for row = step.num_rows, #qsl - 1 do
    check(qsl[row] == tokens, where, "I17: padding starts at %d", qsl[row])
  end
  local initial = meta.has_initial_state
  for row = 0, initial and step.num_rows - 1 or -1 do
    check(initial[row] == not fresh[row], where, "I16: row %d has_initial_state %s", row,
          tostring(initial[row]))
  end
end

-- I19, I20.
local function check_padding(self, where, step, lengths)
  local c, smallest = self.config, nil
  for _, size in ipairs(c.sizes) do
    if size >= step.num_tokens then
      smallest = size
      break
    end
  end
  check(step.padded_tokens == (smallest or step.num_tokens), where, "I19: %d tokens padded to %d",
        step.num_tokens,
        step.padded_tokens)
  check((step.graph == "eager") == (smallest == nil), where, "I19: graph %s", step.graph)
  if step.graph == "full" then
    local length = next(lengths)
    check(next(lengths, length) == nil and (length == 1 or length == 1 + c.num_spec), where,
          "I20: not uniform")
    check(step.padded_rows * length == step.padded_tokens, where, "I19: %d rows of %d padded to %d tokens",
          step.padded_rows, length, step.padded_tokens)
  else
    check(step.padded_rows == step.num_rows, where, "I19: rows padded to %d without a full graph",
          step.padded_rows)
  end
  local meta = step.metadata
  check(meta.num_decodes == 0 or meta.num_spec_decodes == 0, where, "I20: plain and speculative decodes")
end

--- A step came out, not completed yet. Returns its rows for the kernel.
function Books:step(step, where)
  local c, seen, rows, starts, fresh, lengths, tokens = self.config, {}, {}, {}, {}, {}, 0
  for _, id in ipairs(step.preempted) do
    local q = self.live[id]
    check(not q.waits, where, "I22: request %s waits and is preempted", id)
    q.waits, q.computed, q.placeholders, q.drafts, q.accepted, q.last_drafts = true, q.cached, 0, 0, 1, 0
    q.epoch = (q.epoch or 0) + 1
    seen[id] = "preempted"
  end
  for _, id in ipairs(step.rejected) do
    check(step.reasons[id] ~= nil, where, "request %s is rejected without a reason", id)
    self.live[id] = nil
    self.rejected = self.rejected + 1
  end
  for _, id in ipairs(step.admitted) do
    check(self.live[id].waits and self.live[id].flight == 0, where, "request %s is admitted and runs", id)
    self.live[id].waits = false
  end
  check(#step.admitted == 0 or #step.preempted == 0 or c.admit_after_preemption, where, "I21")
  local drafting = false
  for row = 0, step.num_rows - 1 do drafting = drafting or step.drafts[row] > 0 end
  local last_region = 0
  for row = 0, step.num_rows - 1 do
    local id = step:id(row)
    local q, at = self.live[id], ("%s row %d request %s"):format(where, row, id)
    check(q and not q.waits, at, "does not run")
    check(not seen[id], at, "I1, I22: %s before", tostring(seen[id]))
    seen[id] = "scheduled"
    local used, is_decode = check_row(self, at, step, row, q, drafting)
    local here = region(c, q, step.query_len[row])
    check(here >= last_region, at, "I12: region %d behind %d", here, last_region)
    last_region = here
    local n = step.query_len[row]
    starts[row], fresh[row], tokens = tokens, q.computed == 0, tokens + n
    lengths[is_decode and n or -1] = true
    rows[row + 1] = { id = id, n = n, drafts = step.drafts[row], computed = q.computed,
                      last_accepted = q.accepted,
                      used = used, epoch = q.epoch, samples = step.samples[row] }
    q.computed, q.flight, q.latest = q.computed + n, q.flight + 1, rows[row + 1]
    if step.samples[row] == 1 then q.placeholders = q.placeholders + 1 + used end
    q.last_drafts = used
    q.accepted = 1 + used -- unless results say otherwise
  end
  local running = 0
  for _, q in pairs(self.live) do running = running + (q.waits and 0 or 1) end
  check(tokens == step.num_tokens and tokens <= c.budget, where, "I3: %d tokens", tokens)
  check(step.num_rows <= running and running <= c.max_num_seqs, where, "I4: %d rows, %d run", step.num_rows,
        running)
  check(running == self.engine.stats.running, where, "I23: %d run, the engine says %d", running,
        self.engine.stats.running)
  if step.num_rows > 0 then
    check_metadata(where, step, starts, fresh)
    check_padding(self, where, step, lengths)
  elseif #step.preempted == 0 and #step.rejected == 0 and self.in_flight == 0 then
    check(next(self.live) == nil, where, "I24: nothing is scheduled, though somebody waits or runs")
  end
  if step.num_rows > 0 then self.in_flight = self.in_flight + 1 end
  check_slots(self, where)
  return rows
end

--- The rows of a step that came out before, after its results. stops: by id.
function Books:complete(step, rows, where)
  local c = self.config
  self.in_flight = self.in_flight - 1
  local finished = {}
  for _, id in ipairs(step.finished) do finished[id] = true end
  for n, row in ipairs(rows) do
    local q, emitted = self.live[row.id], step.emitted[n - 1]
    local at = ("%s request %s"):format(where, row.id)
    if not q or q.flight == 0 then -- cancelled, or finished by the step before
      check(emitted == 0, at, "emits %d tokens after it left", emitted)
    else
      q.flight = q.flight - 1
      local stale = row.epoch ~= q.epoch
      local accepted, stop = step.accepted[n - 1], step.stop[n - 1]
      local want = row.samples * (accepted + 1)
      if stop > 0 then want = math.min(want, stop) end
      want = math.min(want, q.max - q.emitted, c.max_model_len - q.known)
      check(emitted == want, at, "I25: emits %d tokens, want %d", emitted, want)
      q.known, q.emitted = q.known + emitted, q.emitted + emitted
      if not stale and row.samples == 1 then
        q.placeholders = q.placeholders - 1 - row.used
        local rejected = row.used - accepted
        q.computed, q.drafts = q.computed - rejected, step.next_drafts[n - 1]
        if q.flight == 0 then
          q.accepted = accepted + 1
        elseif rejected > 0 then -- the step behind this one moves back
          q.latest.computed, q.latest.last_accepted = q.latest.computed - rejected, accepted + 1
        end
      end
      local is_over = stop > 0 and emitted == stop or q.emitted == q.max or q.known == c.max_model_len
      check((finished[row.id] or false) == (row.samples == 1 and is_over), at, "finished: %s",
            tostring(finished[row.id]))
      if finished[row.id] then
        self.finished, self.emitted = self.finished + 1, self.emitted + q.emitted
        self.done[row.id] = q
        self.live[row.id] = nil
      end
    end
  end
  check_slots(self, where)
  local e, waiting = self.engine, 0
  for _ in pairs(self.live) do waiting = waiting + 1 end
  check(e.stats.waiting + e.stats.running == waiting, where, "I23: %d live, the engine has %d", waiting,
        e.stats.waiting + e.stats.running)
end

function Books:cancel(id)
  self.live[id] = nil
  self.cancelled = self.cancelled + 1
end

--- Everything is over: nothing is left, nothing is lost.
function Books:close(where)
  local e = self.engine
  local s = e.stats
  check(next(self.live) == nil and e:idle(), where, "something is left")
  check(s.arrived == self.arrived and s.finished == self.finished and s.cancelled == self.cancelled
        and s.rejected == self.rejected and self.arrived == self.finished + self.cancelled + self.rejected,
          where,
        "I23: %d arrived, %d finished, %d cancelled, %d rejected", s.arrived, s.finished, s.cancelled,
          s.rejected)
  local work = 0
  for id, q in pairs(self.done) do
    work = work + q.prompt - q.cached + q.emitted - 1
    check(q.emitted <= q.max, where, "request %s emitted %d", id, q.emitted)
  end
  check(s.scheduled == work + s.rejected_drafts + s.discarded + s.abandoned + s.wasted_tokens, where,
        "I26: %d scheduled, %d of use, %d rejected, %d discarded, %d abandoned, %d wasted", s.scheduled, work,
        s.rejected_drafts, s.discarded, s.abandoned, s.wasted_tokens)
  local slots, kv = e:slots(), e:kv()
  check(slots.used == 0, where, "I23: %d slots are left in use", slots.used)
  check(not kv or kv.used == 0, where, "I23: %d blocks of attention cache are left in use", kv and kv.used
        or 0)
end

--- config: budget, max_num_seqs, max_model_len, threshold, chunked, align, block, num_spec, sizes,
--- reorder_threshold, admit_after_preemption.
function M.new(engine, config)
  return setmetatable({ engine = engine, config = config, live = {}, done = {}, arrived = 0, finished = 0,
                        cancelled = 0, rejected = 0, emitted = 0, in_flight = 0 }, Books)
end

return M
