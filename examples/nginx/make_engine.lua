-- The engine of a server, and the host between it and its model, as the settings want them.
local gdn = require "gdnmeta"
local clock = require "examples.nginx.clock"
local hosts = require "examples.serving"

-- Mode none: a request holds 1 + S slots. States that are kept have slots besides, and the last column of
-- the state tables, where a request finds the one that it begins with.
local function builder_of(settings)
  local columns = 1 + settings.num_speculative_tokens
  local caches = settings.cache_states > 0
  return assert(gdn.builder {
    device = "cpu", max_num_seqs = settings.max_num_seqs,
    max_num_batched_tokens = settings.max_num_batched_tokens,
    num_speculative_tokens = settings.num_speculative_tokens,
    max_blocks_per_row = caches and columns + 1 or nil,
    num_slots = caches and 1 + settings.max_num_seqs * columns + settings.cache_states or nil,
  })
end

---@param settings table of settings.lua
---@param policy table|string
---@param cache table|nil without cache_states or hooks: none of its own
---@return table engine
---@return table host
return function(settings, policy, cache)
  local builder = builder_of(settings)
  local engine = assert(gdn.engine {
    builder = builder, policy = policy, max_model_len = settings.max_model_len,
    max_num_batched_tokens = settings.max_num_batched_tokens, stopwatch = clock.stopwatch,
    hash_block_size = settings.cache_states > 0 and settings.cache_block or nil, cache = cache,
  })
  return engine, hosts.new(engine, require(settings.model).new { seed = settings.seed, builder = builder })
end
