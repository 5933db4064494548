-- Rows of random_batch as what the API takes: arguments of build_raw, or a batch filled in one of the
-- three ways that a host can fill it.
local keeps = require "spec.support.random_keeps"

local M = {}

--- Arguments of build_raw for rows and their padding (`null_row` repeated).
function M.inputs(config, rows, null_row, padded_rows, padded_tokens)
  local width, longest = config.max_blocks_per_row, 0
  local inputs = { query_start_loc = { 0 }, seq_lens = {}, num_accepted_tokens = {}, block_table_cols = width,
    num_decode_draft_tokens = {}, prompt_done = {}, read_column = {}, num_reqs = padded_rows,
    num_actual_tokens = padded_tokens }
  local tables = {}
  for g = 1, config.num_groups do tables[g] = {} end
  for i = 1, padded_rows do
    local row = rows[i] or null_row
    inputs.query_start_loc[i + 1] = inputs.query_start_loc[i] + row.q
    inputs.seq_lens[i], inputs.num_accepted_tokens[i] = row.seq_len, row.accepted
    inputs.num_decode_draft_tokens[i], inputs.prompt_done[i] = row.drafts, row.prompt_done
    inputs.read_column[i] = row.read_column or -2
    for g = 1, config.num_groups do
      tables[g][i] = {}
      for k = 1, width do tables[g][i][k] = row.blocks[g][k] end
    end
    longest = math.max(longest, row.q)
  end
  if keeps.any(rows) then
    inputs.checkpoint_len, inputs.checkpoint_slot = {}, {}
    for i = 1, padded_rows do inputs.checkpoint_len[i] = rows[i] and rows[i].checkpoint_len or 0 end
    for g = 1, config.num_groups do
      inputs.checkpoint_slot[g] = {}
      for i, row in ipairs(rows) do
        inputs.checkpoint_slot[g][i] = row.checkpoint_slots and row.checkpoint_slots[g] or 0
      end
    end
  end
  inputs.block_table = config.num_groups == 1 and tables[1] or tables
  inputs.max_query_len = longest
  return inputs
end

-- Blocks without the zeros after them, which are what a short list means.
local function trimmed(blocks)
  local out, n = {}, #blocks
  while n > 0 and blocks[n] == 0 do n = n - 1 end
  for k = 1, n do out[k] = blocks[k] end
  return out
end

-- nil where that means the same, in one row of two.
local function sometimes(i, value, default)
  if value == default and i % 2 == 0 then return nil end
  return value
end

--- batch:add, with the row's own blocks.
function M.add(_, batch, rows)
  for i, row in ipairs(rows) do
    local blocks = {}
    for g, list in ipairs(row.blocks) do blocks[g] = trimmed(list) end
    if #blocks == 1 and i % 2 == 0 then blocks = blocks[1] end
    assert(batch:add { query_len = row.q, seq_len = row.seq_len, blocks = blocks,
      drafts = sometimes(i, row.drafts, -1), accepted = sometimes(i, row.accepted, 1),
      prompt_done = sometimes(i, row.prompt_done, false), read_column = row.read_column,
      checkpoint_len = row.checkpoint_len, checkpoint_slot = row.checkpoint_slots })
  end
end

-- Rows of the state tables, the last one first: row numbers and table rows must not be confused.
local function store(builder, rows)
  local at = {}
  for i, row in ipairs(rows) do
    at[i] = builder.max_requests - i
    for g, list in ipairs(row.blocks) do builder:set_blocks(g - 1, at[i], list) end
  end
  return at
end

--- batch:push, with blocks in the builder's state tables.
function M.push(builder, batch, rows)
  local at = store(builder, rows)
  for i, row in ipairs(rows) do
    assert(batch:push(at[i], row.q, row.seq_len, row.prompt_done, sometimes(i, row.drafts, -1),
                      sometimes(i, row.accepted, 1), row.read_column))
  end
end

--- The arrays of the gdn_batch, as a host that fills them itself.
function M.write(builder, batch, rows)
  local at, c = store(builder, rows), batch.rows
  for i, row in ipairs(rows) do
    local k = i - 1
    c.query_len[k], c.seq_len[k], c.table_row[k] = row.q, row.seq_len, at[i]
    c.num_draft_tokens[k], c.num_accepted_tokens[k] = row.drafts, row.accepted
    c.prompt_done[k], c.read_column[k] = row.prompt_done and 1 or 0, row.read_column or -2
    c.checkpoint_len[k] = row.checkpoint_len or 0
    for g, slot in ipairs(row.checkpoint_slots or {}) do
      c.checkpoint_slot[(g - 1) * c.max_rows + k] = slot
    end
  end
  c.num_rows = #rows
end

--- Can add and push take these rows, whose domains are narrower than those of the arrays?
function M.plain(rows)
  for _, row in ipairs(rows) do
    if row.q < 0 or row.drafts < -1 or (row.read_column or -1) < -1 then return false end
  end
  return true
end

--- The ways to a build: paths[name](builder, batch, inputs, rows) returns metadata, or nil and a reason.
M.paths = {}

-- full_cuda_graph = "mixed".
function M.paths.bucket(builder, _, inputs)
  return builder:capture { rows = inputs.num_reqs, tokens = inputs.num_actual_tokens }
end

function M.paths.raw(builder, _, inputs)
  local arguments = {}
  for name, value in pairs(inputs) do arguments[name] = value end
  arguments.capture = nil
  if inputs.capture then return builder:capture(arguments) end
  return builder:build_raw(arguments)
end
for _, name in ipairs { "add", "push", "write" } do
  M.paths[name] = function(builder, batch, inputs, rows)
    batch:clear()
    M[name](builder, batch, rows)
    if inputs.num_reqs > #rows or inputs.num_actual_tokens > inputs.query_start_loc[#rows + 1] then
      local ok, reason = batch:pad(inputs.num_reqs, inputs.num_actual_tokens)
      if not ok then return nil, reason end
    end
    return builder:build(batch)
  end
end

return M
