-- Every small step: each single row of a small alphabet of numbers, and each two and three rows of fewer, in
-- builders of every kind.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local array_of = require "gdnmeta.array_of"

local int32s = array_of "int32_t"

local M = { ROWS = 4, WIDTH = 3, GROUPS = 2 }
local ROWS, WIDTH = M.ROWS, M.WIDTH
local CELLS = ROWS * WIDTH
M.CELLS = CELLS
local FIELDS = { "query_len", "seq_len", "num_draft_tokens", "num_accepted_tokens", "prompt_done",
                 "read_column", "table_row" }

local ALIGN = { mamba_cache_mode = "align", mamba_block_size = 2, num_speculative_blocks = 1 }
M.WORLDS = {
  {}, { full_cuda_graph = true, max_cudagraph_capture_size = 2 }, { full_cuda_graph = "mixed" },
  { num_speculative_tokens = 0, checkpoint_any = true }, ALIGN,
  { mamba_cache_mode = "align", mamba_block_size = 3, num_speculative_tokens = 0,
    num_speculative_blocks = 0 },
  { rules = "vllm-2026-04", full_cuda_graph = true }, { rules = "vllm-2026-08", pad_slot_id = -1 },
  { rules = "vllm-2026-08", mamba_cache_mode = "align", mamba_block_size = 2, num_speculative_blocks = 1 },
  { rules = "vllm-2026-11", mamba_cache_mode = "all", mamba_block_size = 2, num_speculative_blocks = 1 },
  { rules = "vllm-2026-11", mamba_cache_mode = "align", mamba_block_size = 2, num_speculative_blocks = 1,
    num_prefill_checkpoint_blocks = 1, hash_block_size = 1, cache_hit_alignment_tokens = 1,
    prefill_checkpoint_alignment = 1 },
  { rules = "vllm-2026-04", full_cuda_graph = true, max_blocks_per_row = 1 },
  { rules = "vllm-2026-08", full_cuda_graph = true, num_speculative_tokens = 2,
    max_cudagraph_capture_size = 6 },
  { rules = "vllm-2026-11", full_cuda_graph = true, query_start_loc_dtype = "int64" },
  { full_cuda_graph = true, num_speculative_tokens = 2, pad_slot_id = -1 },
}

-- { query_len, seq_len, drafts, accepted, prompt_done, read_column }, each of a list.
local function product(lists)
  local rows = { {} }
  for _, list in ipairs(lists) do
    local longer = {}
    for _, row in ipairs(rows) do
      for _, value in ipairs(list) do
        local copy = { unpack(row) }
        copy[#copy + 1] = value
        longer[#longer + 1] = copy
      end
    end
    rows = longer
  end
  return rows
end

local SINGLE = product { { 0, 1, 2, 3 }, { 0, 1, 2, 3, 4, 5, 6, 7 }, { -1, 0, 1, 2 }, { 0, 1, 2, 3 },
                         { 0, 1 }, { -2, -1, 0, WIDTH - 1, WIDTH } }
M.SOME = { { 1, 1, -1, 1, 0, -1 }, { 1, 3, -1, 1, 1, -2 }, { 1, 4, -1, 2, 1, 1 }, { 2, 2, -1, 1, 0, -1 },
           { 2, 5, 1, 1, 1, 0 }, { 2, 5, 1, 2, 1, 1 }, { 1, 3, 0, 1, 1, -2 }, { 3, 6, -1, 1, 0, 0 },
           { 0, 0, -1, 1, 0, -1 }, { 2, 4, -1, 1, 1, 2 } }

--- Where the host reads no lengths, read_column tells it which rows are fresh.
---@param has_lengths boolean
---@param each integer|nil one in so many of the single rows
function M.batches(has_lengths, each)
  local list = {}
  for k, row in ipairs(SINGLE) do
    local is_told = row[2] > row[1] and row[6] ~= -1 or row[2] == row[1] and row[6] == -1
    if (has_lengths or is_told) and k % (each or 1) == 0 then list[#list + 1] = { row } end
  end
  for _, a in ipairs(M.SOME) do
    for _, b in ipairs(M.SOME) do
      list[#list + 1] = { a, b }
      for k = 1, 6 do list[#list + 1] = { a, b, M.SOME[k] } end
    end
  end
  return list
end

--- What the tables of a group hold. Where nothing is written, 0 may stand.
function M.cells_of(group)
  local cells = int32s(CELLS)
  for i = 0, CELLS - 1 do cells[i] = 1 + (i * 5 + group) % 12 + (i == 7 and 20 or 0) end
  cells[2] = 0
  return cells
end

--- A builder of a world, and its batch.
function M.open(world, device, options)
  local o = { max_num_seqs = ROWS, max_num_batched_tokens = 12, num_speculative_tokens = 1,
              num_groups = M.GROUPS, num_slots = 40, max_requests = ROWS, max_blocks_per_row = WIDTH,
              check = true, max_rows = ROWS, device = device }
  for _, given in ipairs { world, options or {} } do
    for name, value in pairs(given) do o[name] = value end
  end
  local builder = assert(gdn.builder(o))
  local bytes = ROWS * builder.max_blocks_per_row * 4
  for g = 0, M.GROUPS - 1 do ffi.copy(lib.gdn_builder_table(builder.handle, g), M.cells_of(g), bytes) end
  return builder, assert(builder:batch()), o
end

-- What no build may look at: rows behind the last one.
local BEHIND = { 9, 3, 1, 7, 2, 5, 99 }

--- The rows of a step into a batch.
function M.write(c, batch)
  local rows = #batch
  for i = 0, ROWS - 1 do
    local row = batch[i + 1] or BEHIND
    for f, name in ipairs(FIELDS) do c[name][i] = row[f] or i end
    c.checkpoint_len[i] = i < rows and 0 or 3
  end
  c.num_rows = rows
end

--- The same rows as vLLM's arguments.
function M.raw(builder)
  local raw, arrays, tables = ffi.new "gdn_raw", {}, ffi.new "const int32_t *[2]"
  for f, name in ipairs { "query_start_loc", "seq_lens", "num_decode_draft_tokens", "num_accepted_tokens",
                          "prompt_done", "read_column" } do
    arrays[f] = int32s(ROWS + 1)
    raw[name] = arrays[f]
  end
  for g = 0, M.GROUPS - 1 do tables[g] = lib.gdn_builder_table(builder.handle, g) end
  raw.size, raw.block_tables = ffi.sizeof "gdn_raw", tables
  raw.block_table_stride, raw.block_table_cols = builder.max_blocks_per_row, builder.max_blocks_per_row
  arrays[0] = tables -- which lives as long
  return raw, arrays
end

function M.write_raw(raw, arrays, batch)
  local tokens, longest, has_drafts = 0, 0, false
  for i, row in ipairs(batch) do
    arrays[1][i - 1] = tokens
    for f = 2, 6 do arrays[f][i - 1] = row[f] end
    tokens, longest, has_drafts = tokens + row[1], math.max(longest, row[1]), has_drafts or row[3] >= 0
  end
  arrays[1][#batch] = tokens
  for i = #batch, ROWS - 1 do
    for f = 2, 6 do arrays[f][i] = BEHIND[f] end
  end
  raw.num_reqs, raw.num_actual_tokens, raw.max_query_len = #batch, tokens, longest
  raw.num_query_start_loc, raw.num_seq_lens, raw.block_table_rows = #batch + 1, #batch, #batch
  raw.num_num_accepted_tokens, raw.num_num_decode_draft_tokens = #batch, #batch
  raw.num_decode_draft_tokens = has_drafts and arrays[3] or nil
  raw.num_accepted_tokens = has_drafts and arrays[4] or nil
  if not has_drafts then raw.num_num_accepted_tokens, raw.num_num_decode_draft_tokens = 0, 0 end
end

return M
