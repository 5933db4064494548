-- What every rule set of the oracle shares: tensors in the form of the vectors, the derived sizes,
-- the input checks that hold under every rule set, the state table and the prefills' launch tables.
-- Lists count from 1; rows, chunks and tiles inside the results count from 0.
local M = {}

local CHUNK, TILE, PAD = 64, 8, -1
local MIN_PROGRAMS = 1024

function M.vector(dtype, list) return { dtype = dtype, shape = { #list }, data = list } end
function M.matrix(dtype, rows, width) return { dtype = dtype, shape = { #rows, width }, data = rows } end

--- First `count` entries of a list; shorter when the list is.
function M.first(list, count)
  local out = {}
  for i = 1, math.min(count, #list) do out[i] = list[i] end
  return out
end

--- Lengths -> boundaries: 0 and the running sums.
function M.boundaries(lengths)
  local out, sum = { 0 }, 0
  for i, length in ipairs(lengths) do
    sum = sum + length
    out[i + 1] = sum
  end
  return out
end

--- Boundaries -> lengths.
function M.lengths(boundaries)
  local out = {}
  for i = 1, #boundaries - 1 do out[i] = boundaries[i + 1] - boundaries[i] end
  return out
end

--- A list of `count` entries: those of `list` (cut or kept), then `pad`.
function M.padded(list, count, pad)
  local out = {}
  for i = 1, count do
    if i <= #list then out[i] = list[i] else out[i] = pad end
  end
  return out
end

--- Section 1: the quantities that follow from a configuration.
function M.derive(config)
  local S = config.num_speculative_tokens or 0
  local cap = config.max_num_seqs * (S + 1)
  if config.max_cudagraph_capture_size then cap = math.min(cap, config.max_cudagraph_capture_size) end
  local threshold = 1
  if S > 0 then threshold = 1 + (config.parallel_drafting and 2 * S or S) end
  if (config.decode_context_parallel_size or 1) > 1 then threshold = 1 end
  return { num_spec = S, decode_cudagraph_max_bs = cap, reorder_batch_threshold = threshold }
end

--- One table a group: block_table is a list of them where there are several.
function M.tables(config, inputs)
  return (config.num_groups or 1) > 1 and inputs.block_table or { inputs.block_table }
end

--- What is refused under every rule set. Returns a reason, or nil.
function M.refuse_shapes(config, inputs, tables_optional)
  local loc = inputs.query_start_loc
  local R = #loc - 1
  if R < 0 then return "query_start_loc is empty" end
  if loc[1] ~= 0 then return "query_start_loc[0] is not 0" end
  for i = 1, R do
    if loc[i + 1] < loc[i] then return "query_start_loc decreases" end
  end
  if inputs.num_reqs < 0 or inputs.num_actual_tokens < 0 then return "negative sizes" end
  if inputs.seq_lens or not tables_optional then
    if #inputs.seq_lens ~= R then return "seq_lens has another length" end
  end
  local tables = M.tables(config, inputs)
  if inputs.block_table or not tables_optional then
    if inputs.block_table_cols < 1 then return "block table without columns" end
    for g = 1, config.num_groups or 1 do
      if #tables[g] ~= R then return "block table has another length" end
    end
  end
  if config.max_rows and math.max(R, inputs.num_reqs) > config.max_rows then return "too many rows" end
  local limit = config.max_num_batched_tokens
  if limit and math.max(loc[R + 1], inputs.num_actual_tokens) > limit then return "too many tokens" end
end

--- First column of a row's window in `align` (section 3).
function M.window_start(config, seq_len)
  return math.max(math.floor((seq_len - 1) / config.mamba_block_size), 0)
end

--- Are table rows read through a window? vllm-2026-11 does that in mode `all`, too.
function M.is_windowed(config, rules)
  local mode = config.mamba_cache_mode
  return mode == "align" or mode == "all" and rules == "vllm-2026-11"
end

--- Section 3: rows of the state table as a step uses them, and their width; or nil and a reason.
function M.state_table(config, rows, cols, seq_lens, rules)
  if not M.is_windowed(config, rules) then return rows, cols end
  local extra, out = config.num_speculative_blocks or 0, {}
  for i, row in ipairs(rows) do
    local start = M.window_start(config, seq_lens[i])
    if start + extra >= cols then return nil, "window outside of the block table" end
    out[i] = {}
    for k = 0, extra do out[i][k + 1] = row[start + k + 1] end
  end
  return out, 1 + extra
end

--- Section 7: chunk tables over rows of these lengths. The first column counts non-empty rows only.
local function chunk_tables(lengths)
  local counts, pairs_, ordinal = {}, {}, 0
  for i, length in ipairs(lengths) do
    counts[i] = math.ceil(length / CHUNK)
    for j = 0, counts[i] - 1 do pairs_[#pairs_ + 1] = { ordinal, j } end
    if length > 0 then ordinal = ordinal + 1 end
  end
  return M.matrix("int32", pairs_, 2), M.vector("int64", M.boundaries(counts))
end

--- Section 7: the causal-conv1d tables over rows of these lengths.
local function conv_tables(lengths)
  local nums, mlist, offsets = {}, {}, {}
  for i, length in ipairs(lengths) do
    nums[i] = math.ceil(length / TILE)
    for j = 0, nums[i] - 1 do
      mlist[#mlist + 1] = i - 1
      offsets[#offsets + 1] = j
    end
  end
  local size = 2 * math.max(MIN_PROGRAMS, #mlist)
  local record = { nums = M.vector("int32", nums), tot = #mlist, mlist = M.vector("int64", mlist),
    mlist_len = #mlist, offsetlist = M.vector("int32", offsets), batch_ptr = "same object as batch_ptr",
    token_chunk_offset_ptr = "same object as token_chunk_offset_ptr" }
  return { ["8"] = record }, { dtype = "int32", shape = { size }, data = mlist, fill = PAD },
    { dtype = "int32", shape = { size }, data = offsets, fill = PAD }
end

--- Fields of a step with prefills. `lengths` and `initial` describe the non-spec batch, of which the
--- first `decodes` rows are no prefills; the chunk tables cover `chunked` (default: the prefills).
function M.add_prefill_fields(out, lengths, initial, decodes, chunked)
  local tail_lengths, tail_initial = {}, {}
  for i = decodes + 1, #lengths do
    tail_lengths[#tail_lengths + 1] = lengths[i]
    tail_initial[#tail_initial + 1] = initial[i]
  end
  out.has_initial_state = M.vector("bool", initial)
  out.prefill_query_start_loc = M.vector("int32", M.boundaries(tail_lengths))
  out.prefill_has_initial_state = M.vector("bool", tail_initial)
  out.chunk_indices, out.chunk_offsets = chunk_tables(chunked or tail_lengths)
  out.nums_dict, out.batch_ptr, out.token_chunk_offset_ptr = conv_tables(lengths)
  out.num_tiles = out.nums_dict["8"].tot
end

--- The length that all have, when it is above 0.
function M.common(lengths)
  for _, length in ipairs(lengths) do
    if length ~= lengths[1] then return nil end
  end
  return lengths[1] ~= 0 and lengths[1] or nil
end

--- Column 0 of rows `from`.. of a state table, as a vector.
function M.first_column(rows, from)
  local out = {}
  for i = from or 1, #rows do out[#out + 1] = rows[i][1] end
  return M.vector("int32", out)
end

return M
