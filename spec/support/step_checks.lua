-- The invariants that one step shows by itself, and those of the tables and pools behind it. Used by
-- invariants.lua, whose books say what each request should look like.
local lib = require "gdnmeta.native"

local M = {}

local function check(condition, where, format, ...)
  if not condition then error(where .. ": " .. format:format(...), 0) end
end
M.check = check

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

--- Where a row stands in the batch.
function M.region(c, q, n)
  if q.computed == 0 then return 3 end
  if n > c.reorder_threshold then return 2 end
  return q.computed >= q.prompt and 0 or 1
end

--- Drafts that the row uses, and whether it is a decode.
function M.row(self, where, step, row, q, drafting)
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

--- I13, I14: every block that a live request's table row holds has one owner, and only a block held by
-- several may stand in several rows.
function M.slots(self, where)
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

--- I17 and I16, in the metadata.
function M.metadata(where, step, starts, fresh)
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

--- I19, I20.
function M.padding(self, where, step, lengths)
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

return M
