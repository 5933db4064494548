-- Random configurations for the oracle specs, and the numbers that everything random is drawn from.
local M = {}

--- rand(lo, hi): an integer of lo .. hi. Lehmer's generator: products stay below 2^53.
function M.rng(seed)
  local state = seed % 2147483646 + 1
  return function(lo, hi)
    state = state * 16807 % 2147483647
    return lo + math.floor((state - 1) / 2147483646 * (hi - lo + 1))
  end
end

local function chance(rand, percent) return rand(1, 100) <= percent end
local function pick(rand, list) return list[rand(1, #list)] end

M.chance, M.pick = chance, pick

local SPECULATIVE = { 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 6, 7, 8 }
local BLOCK_SIZES = { 1, 3, 16, 64, 100 }

-- Rows and tokens: mostly a few, where every boundary is near; sometimes more than any block that a
-- loop could be cut into, or past the smallest size of the launch tables.
local function sizes(rand)
  local kind = rand(1, 20)
  if kind == 1 then return rand(100, 300), 50000 end
  if kind <= 4 then return rand(15, 99), 10000 end
  return rand(3, 14), rand(600, 2500)
end

--- The options that only vllm-2026-11 has. Mode align mostly, for the others keep nothing.
function M.add_checkpoints(rand, config)
  config.gdn_prefill_backend = pick(rand, { "triton", "triton", "flashinfer" })
  if chance(rand, 20) then return end
  config.num_prefill_checkpoint_blocks = pick(rand, { 0, 1, 1, 1, 2 })
  config.prefill_checkpoint_alignment = pick(rand, { 1, 1, 3, 16, 64, 128 })
  config.hash_block_size = pick(rand, { 1, 1, 1, 3, 16 })
  config.cache_hit_alignment_tokens = pick(rand, { 1, 3, 16, 64, 64 })
  config.num_hash_lookahead_tokens = pick(rand, { 0, 0, 1, 5 })
  config.drop_eagle_block = chance(rand, 40)
  for _, name in ipairs { "prefill_checkpoint_alignment", "hash_block_size", "cache_hit_alignment_tokens" } do
    if chance(rand, 5) then config[name] = nil end
  end
end

--- A configuration: options of gdn.builder without device and rules.
function M.config(rand, rules)
  local strict = rules == "strict"
  local S = pick(rand, SPECULATIVE)
  local keeps = rules == "vllm-2026-11" and "align" or "none" -- prefills keep states in that mode alone
  local mode = pick(rand, { "none", keeps, "align", "all" })
  local max_rows, max_tokens = sizes(rand)
  local max_num_seqs = chance(rand, 50) and rand(1, 10) or rand(1, max_rows)
  local config = {
    num_speculative_tokens = S, max_num_seqs = max_num_seqs,
    full_cuda_graph = chance(rand, 60),
    max_cudagraph_capture_size = chance(rand, 40) and rand(1, 4 * max_num_seqs) or nil,
    mamba_cache_mode = mode, mamba_block_size = pick(rand, BLOCK_SIZES),
    num_speculative_blocks = strict and S + rand(0, 1) or rand(0, S + 1),
    num_groups = rand(1, 3), max_rows = max_rows, max_num_batched_tokens = max_tokens,
    max_requests = max_rows + rand(0, 3), parallel_drafting = chance(rand, 20),
    decode_context_parallel_size = chance(rand, 15) and 2 or 1,
  }
  if mode == "align" or mode == "all" and rules == "vllm-2026-11" then
    config.max_blocks_per_row = 1 + config.num_speculative_blocks + rand(0, 9)
  else
    config.max_blocks_per_row = (strict or chance(rand, 70)) and S + 1 + rand(0, 3) or rand(1, S + 1)
  end
  local slots = {}
  for g = 1, config.num_groups do
    slots[g] = max_rows * (S + 2) + (chance(rand, 20) and 200000 or rand(10, 200))
  end
  config.num_slots = config.num_groups == 1 and slots[1] or slots
  if chance(rand, 20) then config.check_unique = false end
  if rules == "vllm-2026-11" then M.add_checkpoints(rand, config) end
  if strict then
    config.checkpoint_any = chance(rand, 40)
    config.gdn_prefill_backend = pick(rand, { "triton", "triton", "flashinfer" })
  end
  return config
end

--- Slots of group g.
function M.slots_of(config, g)
  return type(config.num_slots) == "table" and config.num_slots[g] or config.num_slots
end

--- The longest sequence whose window lies within a table row.
function M.longest(config)
  local mode = config.mamba_cache_mode
  local is_2026_11 = config.gdn_prefill_backend and config.checkpoint_any == nil
  if mode ~= "align" and not (mode == "all" and is_2026_11) then return 2147483647 end
  return (config.max_blocks_per_row - config.num_speculative_blocks) * config.mamba_block_size
end

--- reorder_batch_threshold.
function M.threshold_of(config)
  local S = config.num_speculative_tokens
  if S == 0 or config.decode_context_parallel_size > 1 then return 1 end
  return 1 + (config.parallel_drafting and 2 * S or S)
end

return M
