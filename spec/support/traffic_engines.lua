-- Configurations of random traffic, and the engines that they make.
local gdn = require "gdnmeta"

local M = {}

local random = math.random

local function chance(p) return random() < p end
local function pick(list) return list[random(#list)] end

--- A configuration that one engine can be made of.
function M.configuration()
  local c = { align = chance(0.5), num_spec = pick { 0, 0, 1, 2, 3 }, num_groups = random(3),
              seqs = random(1, 9) }
  c.block = c.align and random(c.num_spec + 1, 12) or 16
  c.max_model_len = random(24, 140)
  c.budget = math.max(random(4, 70), c.seqs, c.block)
  if chance(0.2) then c.budget = math.max(c.seqs, c.block) end
  c.threshold = chance(0.3) and random(c.block, 40) or 0
  c.kv_block = random(1, 9)
  c.kv_tokens = chance(0.5) and c.max_model_len + c.kv_block + random(0, 3 * c.max_model_len) or nil
  local need = c.align and c.num_spec + 2 or c.num_spec + 1
  local most = c.seqs * (need + 2) + 8
  c.owns_blocks = c.kv_tokens ~= nil and c.kv_tokens % 5 < 3
  c.num_slots = 1 + (chance(0.5) and most or need + 2 + random(0, most))
  c.full_cuda_graph, c.admit_after_preemption = chance(0.7), chance(0.3)
  c.kv_headroom = pick { 0, 0, 5, 512 }
  c.kv_watermark, c.check = chance(0.2) and 0.05 or 0, chance(0.5)
  return c
end

--- Make it one whose steps are buckets, the usual ones or a few of any size.
function M.in_buckets(c)
  c.full_cuda_graph = "mixed"
  if chance(0.3) then return end
  c.buckets = {}
  for n = 1, random(0, 6) do
    c.buckets[n] = { rows = random(1, c.seqs), tokens = random(1, c.budget + 64) }
  end
end

local function builder_of(c)
  return assert(gdn.builder {
    device = c.device or "cpu", num_groups = c.num_groups, num_speculative_tokens = c.num_spec,
    max_num_seqs = c.seqs,
    max_num_batched_tokens = c.budget + 64, max_requests = c.seqs + (c.async and c.seqs or 0),
    max_rows = math.max(c.seqs * (c.num_spec + 1), c.seqs + (c.async and c.seqs or 0)),
    mamba_cache_mode = c.align and "align" or "none", mamba_block_size = c.block, num_slots = c.num_slots,
    max_blocks_per_row = (c.align and math.ceil(c.max_model_len / c.block) + c.num_spec or c.num_spec + 1)
      + ((c.forks or c.hash_block) and 1 or 0),
    full_cuda_graph = c.full_cuda_graph, check = c.check, poison = c.check, pad_slot_id = c.pad_slot_id,
    query_start_loc_dtype = c.query_start_loc_dtype, checkpoint_any = c.checkpoint_any,
  })
end

function M.engine(c, policy)
  return assert(gdn.engine {
    builder = builder_of(c), second_builder = c.async and not c.device and builder_of(c) or nil,
    async = c.async, policy = policy,
    accepted = c.accepted, max_num_seqs = c.seqs, max_num_batched_tokens = c.budget,
    max_model_len = c.max_model_len, long_prefill_token_threshold = c.threshold, chunked_prefill = c.chunked,
    kv_tokens = not c.owns_blocks and c.kv_tokens or nil,
    kv_blocks = c.owns_blocks and math.floor(c.kv_tokens / c.kv_block) or nil, kv_block_size = c.kv_block,
    kv_watermark = c.kv_watermark, hash_block_size = c.hash_block,
    host_slots = c.host_slots, cache = c.cache,
    kv_headroom = c.kv_headroom, mixed_capture_sizes = c.buckets,
    admit_after_preemption = c.admit_after_preemption,
    preempt_limit = c.preempt_limit, rekey_limit = c.rekey_limit, capture_sizes = c.capture_sizes,
    default_drafts = c.default_drafts, aging = c.aging, ttft = c.ttft, tpot = c.tpot, cost = c.cost,
    on_policy_error = c.on_policy_error, breaker = c.breaker, policy_budget = c.policy_budget,
  })
end

return M
