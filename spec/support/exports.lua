-- A builder whose tensors are exported.
local gdn = require "gdnmeta"

local M = {}

--- A step in which no tensor is missing, in two groups: speculative rows beside a prompt; or, without drafts,
-- a decode in front of two prompts.
function M.open(device, speculative)
  local builder = assert(gdn.builder { device = device, max_num_seqs = 4, max_num_batched_tokens = 400,
                                       num_groups = 2, num_speculative_tokens = 1 })
  local batch = assert(builder:batch())
  local function add(query_len, seq_len, block, drafts)
    batch:add { query_len = query_len, seq_len = seq_len, drafts = drafts, prompt_done = seq_len > query_len,
                blocks = { { block, block + 1 }, { block + 4, block + 5 } } }
  end
  if speculative then add(2, 9, 1, 1) else add(1, 9, 1) end
  add(130, 130, 3)
  if not speculative then add(7, 7, 7) end
  assert(builder:build(batch))
  return builder, batch
end

--- A step whose prompt keeps a state before its end, with the plan of the kernel that does it.
function M.open_kept(device)
  local builder = assert(gdn.builder { device = device, rules = "vllm-2026-11", max_num_seqs = 4,
    max_num_batched_tokens = 400, num_groups = 2, mamba_cache_mode = "align", mamba_block_size = 64,
    max_blocks_per_row = 6, gdn_prefill_backend = "flashinfer", num_prefill_checkpoint_blocks = 1,
    prefill_checkpoint_alignment = 64, hash_block_size = 64, cache_hit_alignment_tokens = 64 })
  local batch = assert(builder:batch())
  batch:add { query_len = 200, seq_len = 200, blocks = { { 1, 2, 3, 4 }, { 5, 6, 7, 8 } } }
  assert(builder:build(batch))
  return builder, batch
end

--- A step of a bucket, which has every tensor: a decode, a speculative row, a prompt, and padding.
function M.open_bucket(device)
  local builder = assert(gdn.builder { device = device, max_num_seqs = 4, max_num_batched_tokens = 400,
    num_groups = 2, num_speculative_tokens = 1, full_cuda_graph = "mixed" })
  local batch = assert(builder:batch())
  for n, row in ipairs { { 1, 9, -1 }, { 2, 9, 1 }, { 130, 130, -1 } } do
    batch:add { query_len = row[1], seq_len = row[2], drafts = row[3], prompt_done = n < 3,
                blocks = { { 2 * n, 2 * n + 1 }, { 2 * n, 2 * n + 1 } } }
  end
  batch:pad(4, 200)
  assert(builder:build(batch))
  return builder, batch
end

function M.collect()
  collectgarbage()
  collectgarbage()
end

return M
