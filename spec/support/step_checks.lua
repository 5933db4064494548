-- The invariants that the rows of a step show. Used by invariants.lua, whose books say what each request
-- should look like.
local M = {}

local function check(condition, where, format, ...)
  if not condition then error(where .. ": " .. format:format(...), 0) end
end
M.check = check

-- I9, I10, I11.
local function check_chunk(self, where, q, n)
  local c = self.config
  if (c.threshold or 0) > 0 and self.prompts > 1 then check(n <= c.threshold, where, "I9: chunk of %d", n) end
  if c.chunked == false then check(n == q.known - q.computed, where, "I10: chunk of %d", n) end
  if not c.align then return end
  local boundary = math.floor(q.known / c.block) * c.block
  if c.num_spec > 0 then boundary = math.max(boundary - c.block, 0) end
  local begun = q.computed % c.block -- of a block, by a source
  if begun > 0 and q.computed < boundary then
    check(n <= c.block - begun, where, "I11: chunk of %d crosses the end of its block", n)
  elseif q.computed + n < boundary then
    check(n % c.block == 0, where, "I11: chunk of %d short of the boundary %d", n, boundary)
  end
  check(q.computed >= boundary or q.computed + n <= boundary, where, "I11: chunk of %d crosses %d", n,
        boundary)
end

--- Where a row stands in the batch.
function M.row_order(c, q, n)
  if q.computed == 0 then return 3 end
  if n > c.reorder_threshold then return 2 end
  return q.computed >= q.prompt and 0 or 1
end

--- Is the row a decode, whatever it says of its drafts?
function M.is_decode(q, step, row)
  local n, known = step.query_len[row], q.known + q.placeholders
  if q.is_new then return false end -- what a source leaves of its text is a chunk, if it is one token
  return q.computed >= q.prompt and n == 1 + math.max(0, n + q.computed - known) and q.computed + 1 >= known
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
  local is_decode = M.is_decode(q, step, row)
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

--- I28: where each token of the step goes, in blocks that its row of the table has; padding goes nowhere.
function M.mapping(where, step, rows, engine)
  if not step.kv_table then return end
  local size, t = engine.private.options.kv_block_size, 0
  for n, row in ipairs(rows) do
    local cells = step.kv_table + step.table_row[n - 1] * engine.max_kv_blocks
    for position = row.computed, row.computed + row.n - 1 do
      local want = cells[math.floor(position / size)] * size + position % size
      local place = tonumber(step.kv_slot_mapping[t])
      check(place == want, where, "I28: token %d of request %s lies at %d, want %d", position, row.id, place,
            want)
      t = t + 1
    end
  end
  for padding = t, step.padded_tokens - 1 do
    check(step.kv_slot_mapping[padding] == -1, where, "I28: token %d is padding and lies at %d", padding,
          tonumber(step.kv_slot_mapping[padding]))
  end
end

return M
