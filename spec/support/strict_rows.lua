-- Builders and rows for hand-made steps of rules strict: S = 2 drafts, tables of five columns, slots
-- 1 .. 99. A row's blocks are b, b + 1, b + 2, so that rows at 10, 20, ... never meet.
local gdn = require "gdnmeta"

local M = {}

local builders = {}

--- A builder that lives until close().
function M.builder_of(options)
  local all = { device = "cpu", rules = "strict", max_num_seqs = 8, max_num_batched_tokens = 1024,
    max_rows = 16, num_speculative_tokens = 2, max_blocks_per_row = 5, num_slots = 100, num_groups = 1 }
  for name, value in pairs(options or {}) do all[name] = value end
  local builder = assert(gdn.builder(all))
  builders[#builders + 1] = builder
  return builder
end

function M.close()
  for i, builder in ipairs(builders) do
    builder:close()
    builders[i] = nil
  end
end

-- `poke` writes past what batch:add lets through, as a host with the bare arrays could.
local function add(batch, row)
  local fields, poke = {}, {}
  for name, value in pairs(row) do
    if name == "poke" then poke = value else fields[name] = value end
  end
  local i = assert(batch:add(fields))
  for name, value in pairs(poke) do batch.rows[name][i] = value end
end

--- Build rows, padded where sizes are given. A row's `poke`: values for its C arrays, by their names.
---@return table|nil metadata
---@return string? reason
---@return integer? code
function M.build(builder, rows, padded_rows, padded_tokens)
  local batch = assert(builder:batch())
  for _, row in ipairs(rows) do add(batch, row) end
  if padded_rows then assert(batch:pad(padded_rows, padded_tokens)) end
  local meta, reason, code = builder:build(batch)
  batch:close()
  return meta, reason, code
end

local function row_of(b, row, extra)
  row.blocks = { b, b + 1, b + 2 }
  for name, value in pairs(extra or {}) do row[name] = value end
  return row
end

--- One token after 50 computed ones.
function M.decode(b, extra) return row_of(b, { query_len = 1, seq_len = 51, prompt_done = true }, extra) end

--- Two drafts after 50 computed tokens.
function M.spec(b, extra)
  return row_of(b, { query_len = 3, seq_len = 53, prompt_done = true, drafts = 2 }, extra)
end

--- Seven tokens, nothing computed.
function M.fresh(b, extra) return row_of(b, { query_len = 7, seq_len = 7 }, extra) end

--- A row of padding that the host writes itself.
function M.empty(extra)
  local row = { query_len = 0, seq_len = 0, blocks = {} }
  for name, value in pairs(extra or {}) do row[name] = value end
  return row
end

return M
