-- The engine of a server, as the settings want it.
local gdn = require "gdnmeta"
local clock = require "examples.nginx.clock"

-- Mode none: a request holds 1 + S slots. States that are kept have slots besides, and the last column of
-- the state tables, where a request finds the one that it begins with.
local function builder_of(settings)
  local columns = 1 + settings.num_speculative_tokens
  local caches = settings.cache_states > 0
  return assert(gdn.builder {
    device = "cpu", max_num_seqs = settings.max_num_seqs,
    max_num_batched_tokens = settings.max_num_batched_tokens,
    num_speculative_tokens = settings.num_speculative_tokens,
    full_cuda_graph = settings.graphs == 1 and "mixed" or nil,
    max_blocks_per_row = caches and columns + 1 or nil,
    num_slots = caches and 1 + settings.max_num_seqs * columns + settings.cache_states or nil,
  })
end

---@param settings table of settings.lua
---@param policy table|string
---@param cache table|nil hooks; nil: those of the built-in cache, unless cache_states is 0
---@return table engine
return function(settings, policy, cache)
  local has_blocks = settings.kv_blocks > 0
  return assert(gdn.engine {
    builder = builder_of(settings), policy = policy, max_model_len = settings.max_model_len,
    max_num_batched_tokens = settings.max_num_batched_tokens, stopwatch = clock.stopwatch,
    kv_blocks = has_blocks and settings.kv_blocks or nil,
    kv_block_size = has_blocks and settings.kv_block_size or nil,
    hash_block_size = settings.cache_states > 0 and settings.cache_block or nil, cache = cache,
  })
end
