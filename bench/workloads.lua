-- The workloads whose cost we publish. Each makes a builder and fills two batches of different sizes:
-- the named one, and one of seven eighths, padded to the same size where the step is for a captured graph.
local gdn = require "gdnmeta"

local WIDTH = 64       -- columns of the state tables, as a server with long contexts has them
local MAX_ROWS = 512
local BUCKET = { 256, 8192 } -- rows and tokens of G256: many decodes; and of G256p: long prompts

--- A row: query_len, seq_len, drafts (-1: none), accepted.
local function decode(i) return 1, 2000 + i, -1, 1 end
local function spec(i) return 4, 2000 + i, 3, 1 + i % 4 end
local function prefill(tokens) return function() return tokens, tokens, -1, 1 end end

-- Parts of a step in row order: { rows, row function }. SM mixes its two decode kinds one to four.
local WORKLOADS = {
  { name = "D256", parts = { { 256, decode } } },
  { name = "D256w1", width = 1, parts = { { 256, decode } } },
  { name = "S128", drafts = 3, parts = { { 128, spec } } },
  { name = "P8", parts = { { 8, prefill(4096) } } },
  { name = "M", parts = { { 200, decode }, { 4, prefill(2048) } } },
  { name = "SM", drafts = 3, parts = { { 96, spec, 24, decode }, { 4, prefill(1024) } } },
  { name = "G256", drafts = 3, bucket = BUCKET, parts = { { 200, spec, 50, decode }, { 4, prefill(300) } } },
  { name = "G256p", drafts = 3, bucket = BUCKET, parts = { { 16, spec, 4, decode }, { 16, prefill(500) } } },
}

-- Buckets are of strict alone, and serve several groups.
local IN_BUCKETS = { rules = "strict", full_cuda_graph = "mixed", num_groups = 3,
                     max_rows = BUCKET[1], max_num_batched_tokens = BUCKET[2], max_requests = MAX_ROWS }

local function rows_of(workload, eighths)
  local rows = {}
  local function put(row, i) rows[#rows + 1] = { row(i) } end
  for _, part in ipairs(workload.parts) do
    local n = math.ceil(part[1] * eighths / 8)
    local m = part[3] and math.ceil(part[3] * eighths / 8) or 0
    for i = 1, n do
      put(part[2], i)
      if i % 4 == 0 and i / 4 <= m then put(part[4], i) end
    end
  end
  return rows
end

local function fill(batch, rows)
  batch:clear()
  for i = 1, #rows do
    local row = rows[i]
    batch:push(i - 1, row[1], row[2], row[2] > row[1], row[3], row[4])
  end
end

--- A builder and its two batches, filled. `options` override the builder's.
---@param workload table an element of the list
---@param options table|nil
---@return table { builder, batches, rows }
local function prepare(workload, options)
  local states = (workload.drafts or 0) + 1
  local config = {
    device = "cpu", rules = "vllm-2026-08", max_num_seqs = 256, max_num_batched_tokens = 32768,
    max_rows = MAX_ROWS, full_cuda_graph = true, max_cudagraph_capture_size = 512,
    num_speculative_tokens = workload.drafts or 0, max_blocks_per_row = workload.width or WIDTH,
    num_slots = MAX_ROWS * states + 1,
  }
  for key, value in pairs(workload.bucket and IN_BUCKETS or {}) do config[key] = value end
  for key, value in pairs(options or {}) do config[key] = value end
  local builder = assert(gdn.builder(config))
  for group = 0, (config.num_groups or 1) - 1 do
    for row = 0, MAX_ROWS - 1 do
      local blocks = {}
      for c = 1, states do blocks[c] = row * states + c end
      builder:set_blocks(group, row, blocks)
    end
  end
  local batches, rows = {}, {}
  for i, eighths in ipairs { 8, 7 } do
    rows[i] = rows_of(workload, eighths)
    batches[i] = builder:batch()
    fill(batches[i], rows[i])
  end
  local meta = assert(builder:build(batches[1]))
  if workload.bucket then
    for i = 1, 2 do assert(batches[i]:pad(unpack(workload.bucket))) end
  elseif meta.num_prefills == 0 then
    batches[2]:pad(#rows[1], meta.num_actual_tokens)
  end
  assert(builder:build(batches[2]))
  return { builder = builder, batches = batches, rows = rows }
end

return { list = WORKLOADS, prepare = prepare, fill = fill }
