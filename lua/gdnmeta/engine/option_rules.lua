-- Rules between the options of an engine, and between them and the builder's.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local args = require "gdnmeta.native.args"
local schema = require "gdnmeta.native.schema"
local buckets = require "gdnmeta.engine.decide.buckets"
local prompt_identity = require "gdnmeta.engine.prefix.prompt_identity"
local capture_sizes = require "gdnmeta.engine.decide.capture_sizes"

local config_t = ffi.typeof "gdn_config"

local M = {}

local function config_of(builder)
  local config = config_t()
  lib.gdn_builder_config(builder.handle, config)
  return config
end

local function builder_problem(name, builder)
  if type(builder) ~= "table" or type(builder.build) ~= "function" or not builder.rules then
    return name .. ": want a gdnmeta builder"
  end
  if not builder.handle then return name .. " is closed" end
  if builder.rules ~= "strict" then return ("%s rules = %s, want strict"):format(name, builder.rules) end
  for group = 0, builder.num_groups - 1 do
    if lib.gdn_builder_table(builder.handle, group) == nil then
      return ("%s: group %d borrows its table, want its own"):format(name, group)
    end
  end
end

-- What two builders of one engine have in common. They may differ in what they look for in a step.
local OWN = { check_unique = true, check = true, poison = true }
local SHARED = {}
for _, option in ipairs(schema.options) do
  if not OWN[option.name] then SHARED[#SHARED + 1] = option.name end
end

local function second_problem(o)
  local on_cpu = o.builder.device == "cpu"
  if o.accepted ~= nil and (on_cpu or not o.async) then
    return "accepted is for async = true on a CUDA builder"
  end
  if not o.second_builder then
    return o.async and on_cpu and "async on the CPU wants second_builder" or nil
  end
  if not o.async or not on_cpu then return "second_builder is for async = true on the CPU" end
  if o.second_builder == o.builder then return "second_builder is builder itself, want another" end
  local problem = builder_problem("second_builder", o.second_builder)
  if problem then return problem end
  local a, b = o.config, config_of(o.second_builder)
  for _, name in ipairs(SHARED) do
    if a[name] ~= b[name] then
      return ("second_builder has %s = %d, want %d as in builder"):format(name, b[name], a[name])
    end
  end
  for group = 0, a.num_groups - 1 do
    local slots, want = b.num_slots[group], a.num_slots[group]
    if slots < want then
      return ("second_builder has num_slots of group %d = %d, want at least %d as in builder"):format(
        group, slots, want)
    end
  end
end

local function at_most(o, name, most, whose)
  if o[name] > most then return args.wrong(name, o[name], ("at most %d (%s)"):format(most, whose)) end
end

local function at_least(o, name, least, what)
  if o[name] < least then return args.wrong(name, o[name], ("at least %d (%s)"):format(least, what)) end
end

-- Limits of the engine within those of the builder.
local function limits_problem(o)
  local c = o.config
  local most_rows, spec = math.min(c.max_rows, c.max_requests), c.num_speculative_tokens
  o.max_num_seqs = o.max_num_seqs or math.min(c.max_num_seqs, most_rows)
  o.max_num_batched_tokens = o.max_num_batched_tokens or c.max_num_batched_tokens
  o.default_drafts = o.default_drafts or spec
  if spec > 0 and o.builder.reorder_batch_threshold <= spec then
    return "decode_context_parallel_size > 1 with speculation: drafts would not stand among the decodes"
  end
  return at_most(o, "max_num_seqs", most_rows, "the builder's rows and requests")
    or at_most(o, "max_num_batched_tokens", c.max_num_batched_tokens, "the builder's")
    or at_least(o, "max_num_batched_tokens", o.max_num_seqs, "max_num_seqs")
    or at_most(o, "default_drafts", spec, "num_speculative_tokens")
end

local function cache_problem(o)
  if o.kv_tokens and o.kv_blocks then return "kv_tokens and kv_blocks, want one of them" end
  return o.kv_tokens and at_least(o, "kv_tokens", o.kv_block_size, "kv_block_size") or nil
end

local function pools_problem(o, need)
  for group = 0, o.config.num_groups - 1 do
    local slots = o.config.num_slots[group]
    if slots <= need then
      return ("num_slots of group %d = %d, want at least %d"):format(group, slots, need + 1)
    end
  end
end

-- Blocks, tables and pools must let a single request go on, whatever it does.
local function mode_problem(o)
  local c = o.config
  local spec, block = c.num_speculative_tokens, c.mamba_block_size
  if c.mamba_cache_mode == lib.GDN_CACHE_ALL then
    return 'mamba_cache_mode = "all", want "none" or "align"'
  elseif c.mamba_cache_mode == lib.GDN_CACHE_NONE then
    o.max_model_len, o.kv_block_size = o.max_model_len or 32768, o.kv_block_size or 16
    return cache_problem(o) or pools_problem(o, spec + 1)
  end
  if not o.chunked_prefill then return "chunked_prefill = false, want true with mamba_cache_mode align" end
  local holds = (c.max_blocks_per_row - c.num_speculative_blocks) * block
  o.max_model_len, o.kv_block_size = o.max_model_len or math.min(holds, 2 ^ 30), o.kv_block_size or block
  if spec >= block then return args.wrong("num_speculative_tokens", spec, "less than mamba_block_size") end
  local threshold = o.long_prefill_token_threshold > 0 and "long_prefill_token_threshold"
  return cache_problem(o)
    or pools_problem(o, spec + 2 + (o.async and 2 or 0))
    or at_most(o, "max_model_len", holds + 1, "max_blocks_per_row")
    or at_least(o, "max_num_batched_tokens", block, "mamba_block_size")
    or threshold and at_least(o, threshold, block, "mamba_block_size") or nil
end

local function is_mixed(o) return o.config.full_cuda_graph == lib.GDN_GRAPH_MIXED end

-- A bucket fits into the builder. Without a list the usual ones, if the builder's steps are buckets.
local function buckets_problem(o)
  local c, list = o.config, o.mixed_capture_sizes
  if not is_mixed(o) then
    o.mixed_capture_sizes = {}
    return list and #list > 0 and 'mixed_capture_sizes is for a builder with full_cuda_graph = "mixed"' or nil
  end
  local largest = c.max_cudagraph_capture_size > 0 and c.max_cudagraph_capture_size or math.huge
  o.mixed_capture_sizes = list or buckets.usual(o.max_num_seqs, c.num_speculative_tokens,
                                                math.min(o.max_num_batched_tokens, largest))
  local name = "mixed_capture_sizes"
  for _, bucket in ipairs(o.mixed_capture_sizes) do
    if bucket.rows > c.max_rows then
      return ("%s has %d rows, want at most %d, the builder's max_rows"):format(name, bucket.rows, c.max_rows)
    elseif bucket.tokens > c.max_num_batched_tokens then
      return ("%s has %d tokens, want at most %d, the builder's max_num_batched_tokens"):format(
        name, bucket.tokens, c.max_num_batched_tokens)
    end
  end
end

local function usual_sizes(o)
  local c = o.config
  if is_mixed(o) then return buckets.token_sizes(o.mixed_capture_sizes) end
  if c.full_cuda_graph == lib.GDN_GRAPH_NONE then return {} end
  local largest = c.max_cudagraph_capture_size > 0 and c.max_cudagraph_capture_size or nil
  return capture_sizes.usual(o.max_num_seqs, c.num_speculative_tokens, o.max_num_batched_tokens, largest)
end

local function sizes_problem(o)
  local c, list = o.config, o.capture_sizes
  if not list then
    list = usual_sizes(o)
    o.capture_sizes = list
  end
  local largest = list[#list] or 0
  if largest > c.max_num_batched_tokens then
    return ("capture_sizes go up to %d, want at most %d, the builder's max_num_batched_tokens"):format(
      largest, c.max_num_batched_tokens)
  end
end

--- Check options against each other and the builder, and fill in every default.
---@param o table options as engine/options.lua reads them; gets `config`, the builder's
---@return string|nil problem
function M.problem(o)
  local problem = builder_problem("builder", o.builder)
  if problem then return problem end
  o.config = config_of(o.builder)
  return second_problem(o) or limits_problem(o) or mode_problem(o) or buckets_problem(o)
    or sizes_problem(o) or prompt_identity.problem(o)
end

return M
