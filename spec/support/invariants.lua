-- The invariants of a step, checked from outside: from what was submitted, the steps that came out and
-- the results that went in. Keeps books of its own and believes none of the engine's.
local cache = require "spec.support.cache_checks"
local checks = require "spec.support.step_checks"
local metadata = require "spec.support.metadata_checks"
local pools = require "spec.support.pool_checks"

local check = checks.check

local M = {}

local Books = {}
Books.__index = Books

--- labels: what its full blocks are, of prompt and answer.
function Books:submit(request, labels)
  local source = request.checkpoint or request.slot
  local cached = source and source.tokens or 0
  self.live[request.id] = {
    id = request.id, prompt = request.prompt_tokens, max = request.max_tokens, known = request.prompt_tokens,
    computed = cached, cached = cached, drafts = 0, placeholders = 0, accepted = 1, last_drafts = 0,
    emitted = 0, waits = true, flight = 0, held = {}, reach = 0, is_new = true, begins_at = 1, ahead = 0,
    blocks = labels or {}, given = source ~= nil, num_blocks = #(request.blocks or {}),
  }
  self.arrived = self.arrived + 1
end

--- A request that is like another from here on, and begins with what that has computed.
function Books:fork(id, parent, max)
  local p, q = self.live[parent], {}
  for name, value in pairs(p) do q[name] = value end
  q.id, q.max, q.drafts, q.placeholders, q.waits, q.flight = id, max, 0, 0, true, 0
  q.held, q.reach, q.is_new, q.table_row, q.latest, q.epoch, q.ahead = {}, 0, true, nil, nil, nil, 0
  q.was_speculative = false
  if not p.waits then
    q.cached, q.begins_at = p.computed - p.ahead, p.flight == 0 and p.accepted or p.latest.last_accepted
  end
  if q.cached == 0 then q.begins_at = 1 end
  q.given = not p.waits and q.cached > 0 or p.given
  if p.waits and not p.given then q.cached = 0 end
  q.computed, q.accepted, q.last_drafts = q.cached, q.begins_at, q.begins_at - 1
  self.live[id] = q
  self.arrived = self.arrived + 1
end

-- Requests that have text to compute, waiting or running, before a step.
local function count_prompts(self)
  local prompts, live = 0, self.live
  local id, q = next(live)
  while id do
    local is_decode = q.computed >= q.prompt and q.computed + 1 >= q.known + q.placeholders
    if q.waits or not is_decode then prompts = prompts + 1 end
    id, q = next(live, id)
  end
  return prompts
end

--- A step came out, not completed yet. Returns its rows for the kernel.
function Books:step(step, where)
  local c, seen, rows, lengths, tokens = self.config, {}, {}, {}, 0
  self.prompts = count_prompts(self)
  for _, id in ipairs(step.preempted) do
    local q = self.live[id]
    check(not q.waits, where, "I22: request %s waits and is preempted", id)
    pools.left(self, where, q)
    self.preemptions = self.preemptions + 1
    q.waits, q.computed, q.placeholders, q.drafts = true, q.cached, 0, 0
    q.accepted, q.last_drafts, q.is_new, q.was_speculative = q.begins_at, q.begins_at - 1, true, false
    q.ahead = 0
    local private = self.engine.private
    if private.prefix and not q.given then q.cached = private.requests.cached[private.requests.index[id]] end
    q.computed = q.cached
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
    cache.admitted(self, where, self.live[id])
  end
  check(#step.admitted == 0 or #step.preempted == 0 or c.admit_after_preemption, where, "I21")
  local drafting = false
  for row = 0, step.num_rows - 1 do
    local q = self.live[step:id(row)]
    drafting = drafting or step.drafts[row] > 0 or q and q.was_speculative and checks.is_decode(q, step, row)
  end
  local last_order = 0
  for row = 0, step.num_rows - 1 do
    local id = step:id(row)
    local q, at = self.live[id], ("%s row %d request %s"):format(where, row, id)
    check(q and not q.waits, at, "does not run")
    check(not seen[id], at, "I1, I22: %s before", tostring(seen[id]))
    seen[id] = "scheduled"
    local is_spec = drafting and not c.has_buckets or q.was_speculative or step.drafts[row] > 0
    local used, is_decode = checks.row(self, at, step, row, q, is_spec)
    q.was_speculative = q.was_speculative or is_decode and is_spec
    local here = checks.row_order(c, q, step.query_len[row])
    check(here >= last_order, at, "I12: a row of order %d after one of %d", here, last_order)
    last_order = here
    local n = step.query_len[row]
    tokens = tokens + n
    lengths[is_decode and n or -1] = true
    rows[row + 1] = { id = id, n = n, drafts = step.drafts[row], computed = q.computed,
                      last_accepted = q.accepted, table_row = step.table_row[row],
                      used = used, epoch = q.epoch, samples = step.samples[row] }
    q.computed, q.flight, q.latest = q.computed + n, q.flight + 1, rows[row + 1]
    if step.samples[row] == 1 then q.placeholders = q.placeholders + 1 + used end
    q.last_drafts, q.table_row, q.reach = used, step.table_row[row], math.max(q.reach, q.computed)
    q.is_new, q.ahead, q.accepted = false, q.ahead + n, 1 + used -- unless results say otherwise
  end
  local running, waiting = 0, 0
  -- By next: the LuaJIT of Debian 12 has crashed in a side trace of this loop compiled with pairs.
  local live, q = next(self.live)
  while live do
    if q.waits then waiting = waiting + 1 else running = running + 1 end
    live, q = next(self.live, live)
  end
  check(tokens == step.num_tokens and tokens <= c.budget, where, "I3: %d tokens", tokens)
  check(step.num_rows <= running and running <= c.max_num_seqs, where, "I4: %d rows, %d run", step.num_rows,
        running)
  local stats = self.engine.stats
  check(running == stats.running and waiting == stats.waiting, where,
        "I23: %d run and %d wait, the engine says %d and %d", running, waiting, stats.running, stats.waiting)
  if step.num_rows > 0 then
    metadata.rows(where, step, rows, self.engine.private.config)
    checks.mapping(where, step, rows, self.engine)
    metadata.padding(self, where, step, lengths)
  elseif #step.preempted == 0 and #step.rejected == 0 and self.in_flight == 0 then
    check(next(self.live) == nil or running == 0 and stats.held > 0, where,
          "I24: nothing is scheduled, though a request waits or runs")
  end
  self.steps, self.peak = self.steps + 1, math.max(self.peak, running)
  self.empty_steps = self.empty_steps + (step.num_rows == 0 and 1 or 0)
  self.padding = self.padding + step.padded_tokens - step.num_tokens
  check(stats.peak_running >= self.peak, where, "%d ran, the engine says %d", self.peak, stats.peak_running)
  if step.num_rows > 0 then self.in_flight = self.in_flight + 1 end
  pools.all(self, where)
  cache.index(self, where)
  return rows
end

local function check_live(self, where)
  local live, stats = 0, self.engine.stats
  for _ in pairs(self.live) do live = live + 1 end
  check(stats.waiting + stats.running == live, where, "I23: %d live, the engine has %d", live,
        stats.waiting + stats.running)
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
    pools.landed(self, at, row.table_row)
    if not q or q.flight == 0 then -- cancelled, or finished by the step before
      check(emitted == 0, at, "emits %d tokens after it left", emitted)
    else
      q.flight = q.flight - 1
      local stale = row.epoch ~= q.epoch
      if not stale then q.ahead = q.ahead - row.n end
      local accepted, stop = step.accepted_drafts[n - 1], step.stop[n - 1]
      local want = row.samples * (accepted + 1)
      if stop > 0 then want = math.min(want, stop) end
      want = math.min(want, q.max - q.emitted, c.max_model_len - q.known)
      check(emitted == want, at, "I25: emits %d tokens, want %d", emitted, want)
      self.tokens = self.tokens + emitted
      q.known, q.emitted = q.known + emitted, q.emitted + emitted
      if not stale and row.samples == 1 then
        q.placeholders = q.placeholders - 1 - row.used
        local rejected = row.used - accepted
        q.computed, q.drafts = q.computed - rejected, step.next_drafts[n - 1]
        if q.flight == 0 then
          q.accepted = accepted + 1
        elseif rejected > 0 then -- the step after this one moves back
          q.latest.computed, q.latest.last_accepted = q.latest.computed - rejected, accepted + 1
        end
      end
      if not stale then cache.computed(self, q) end
      local is_over = stop > 0 and emitted == stop or q.emitted == q.max or q.known == c.max_model_len
      check((finished[row.id] or false) == (row.samples == 1 and is_over), at, "finished: %s",
            tostring(finished[row.id]))
      if finished[row.id] then
        self.finished, self.emitted = self.finished + 1, self.emitted + q.emitted
        self.done[row.id] = q
        pools.left(self, at, q)
        self.live[row.id] = nil
      end
    end
  end
  pools.all(self, where)
  check_live(self, where)
end

function Books:cancel(id)
  pools.left(self, "request " .. id, self.live[id])
  self.live[id] = nil
  self.cancelled = self.cancelled + 1
  pools.all(self, "cancelled request " .. id)
  check_live(self, "cancelled request " .. id)
end

--- Everything is over: nothing is left, nothing is lost.
function Books:close(where)
  local e = self.engine
  local s = setmetatable({}, { __index = function(_, name) return e.stats[name] - self.before[name] end })
  check(next(self.live) == nil and e:idle(), where, "something is left")
  check(s.arrived == self.arrived and s.finished == self.finished and s.cancelled == self.cancelled
        and s.rejected == self.rejected and self.arrived == self.finished + self.cancelled + self.rejected,
          where,
        "I23: %d arrived, %d finished, %d cancelled, %d rejected", s.arrived, s.finished, s.cancelled,
          s.rejected)
  for name, sum in pairs { steps = self.steps, empty_steps = self.empty_steps, padding = self.padding,
                           preemptions = self.preemptions, emitted = self.tokens } do
    check(s[name] == sum, where, "%s = %d, the engine says %d", name, sum, s[name])
  end
  check(self.before.peak_running > 0 or e.stats.peak_running == self.peak, where, "%d ran at a time",
        self.peak)
  local work = 0
  for id, q in pairs(self.done) do
    work = work + q.prompt - q.cached + q.emitted - 1
    check(q.emitted <= q.max, where, "request %s emitted %d", id, q.emitted)
  end
  check(s.scheduled == work + s.rejected_drafts + s.discarded + s.abandoned + s.wasted_tokens, where,
        "I26: %d scheduled, %d of use, %d rejected, %d discarded, %d abandoned, %d wasted", s.scheduled, work,
        s.rejected_drafts, s.discarded, s.abandoned, s.wasted_tokens)
  cache.empty(self)
  local slots, kv = e:slots(), e:kv()
  check(slots.used == 0, where, "I23: %d slots are left in use", slots.used)
  check(not kv or kv.used == 0, where, "I23: %d blocks of attention cache are left in use", kv and kv.used
        or 0)
end

local COUNTS = { "arrived", "finished", "cancelled", "rejected", "scheduled", "rejected_drafts", "discarded",
                 "abandoned", "wasted_tokens", "steps", "empty_steps", "padding", "preemptions", "emitted",
                 "peak_running" }

--- Books of an engine that may have worked before, and is idle.
--- config: budget, max_num_seqs, max_model_len, threshold, chunked, align, block, kv_block, num_spec,
--- sizes, buckets, has_buckets, reorder_threshold, admit_after_preemption.
function M.new(engine, config)
  local before = {}
  for _, name in ipairs(COUNTS) do before[name] = engine.stats[name] end
  return setmetatable({ engine = engine, before = before, config = config, live = {}, done = {}, arrived = 0,
                        finished = 0, cancelled = 0, rejected = 0, emitted = 0, in_flight = 0, pending = {},
                        computed_blocks = {},
                        steps = 0, empty_steps = 0, padding = 0, preemptions = 0, tokens = 0, peak = 0 },
                      Books)
end

return M
