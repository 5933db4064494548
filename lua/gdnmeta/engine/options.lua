-- The options of gdnmeta.engine: names, domains, defaults.
local args = require "gdnmeta.native.args"
local buckets = require "gdnmeta.engine.decide.buckets"
local domains = require "gdnmeta.native.domains"
local range = require("gdnmeta.native.ranges").of
local old_names = require "gdnmeta.native.old_names"

local INT32_MAX = args.INT32_MAX
local integer, number, flag, of_type = domains.integer, domains.number, domains.flag, domains.of_type

local DOMAINS = {
  max_model_len = integer(2, 2 ^ 30),
  max_num_seqs = integer(range "max_num_seqs"),
  max_num_batched_tokens = integer(range "max_num_batched_tokens"),
  long_prefill_token_threshold = integer(0, INT32_MAX),
  chunked_prefill = flag,
  kv_tokens = integer(1, INT32_MAX),
  kv_blocks = integer(1, INT32_MAX),
  kv_block_size = integer(1, INT32_MAX),
  hash_block_size = integer(1, 2 ^ 20),
  host_slots = integer(0, 2 ^ 22),
  kv_watermark = number(0, 1),
  kv_headroom = integer(0, INT32_MAX),
  preempt_limit = integer(0, INT32_MAX),
  admit_after_preemption = flag,
  async = flag,
  default_drafts = integer(range "num_speculative_tokens"),
  aging = number(0, 1e12),
  ttft = number(0, math.huge),
  tpot = number(0, math.huge),
  cost = of_type "table",
  rekey_limit = integer(1, 1e6),
  policy_budget = integer(1000, INT32_MAX),
  policy_seconds = number(0, 1e6),
  breaker = integer(1, 1e6),
  on_policy_error = domains.one_of { "fallback", "raise" },
  stopwatch = of_type "function",
  seed = integer(0, INT32_MAX),
}

-- Those that no default of the builder's provides.
local DEFAULTS = {
  long_prefill_token_threshold = 0, chunked_prefill = true, kv_watermark = 0, kv_headroom = 512,
  preempt_limit = 3, admit_after_preemption = false,
  async = false, aging = 20, ttft = math.huge, tpot = math.huge, rekey_limit = 128, policy_budget = 1e6,
  host_slots = 0, breaker = 3, on_policy_error = "fallback", seed = 1, policy = "fcfs",
}

local OTHERS = { "cache", "builder", "second_builder", "policy", "capture_sizes", "mixed_capture_sizes",
                 "accepted", "drafts" } -- drafts: the name of the release before

local KNOWN = {}
for name in pairs(DOMAINS) do KNOWN[name] = true end
for _, name in ipairs(OTHERS) do KNOWN[name] = true end

local NO_COST = { predict = function() return 0 end, tokens_within = function() return math.huge end }

-- The functions of a host's model, its own or by __index; missing ones return nothing.
local function cost_model(given)
  if type(given) == "nil" then return NO_COST end
  local own, model = getmetatable(given) == nil, {}
  for name in next, given do
    if own and not NO_COST[name] then
      return nil, ("cost.%s: want functions predict and tokens_within"):format(args.word(name))
    end
  end
  for name, default in pairs(NO_COST) do
    local value = given[name]
    if type(value) ~= "nil" and type(value) ~= "function" then
      return nil, ("cost.%s: want functions predict and tokens_within"):format(name)
    end
    model[name] = value or default
  end
  return model
end

local function capture_sizes(value)
  if value == false then return {} end
  if type(value) ~= "table" then return nil, "capture_sizes: want a list of ascending sizes, or false" end
  local sizes, length = {}, #value
  for n in next, value do
    if not args.integer(n, 1, length) then
      return nil, ("capture_sizes[%s]: want a list without gaps"):format(args.show(n))
    end
  end
  for n = 1, length do
    local size = rawget(value, n)
    if not args.integer(size, 1, 65536) or n > 1 and size <= sizes[n - 1] then
      return nil, ("capture_sizes[%d] = %s, want an integer in 1 .. 65536 above the one before"):format(
        n, args.show(size))
    end
    sizes[n] = size
  end
  return sizes
end

-- A value under the name of the release before, as that of today.
local function take_old(options)
  if type(options.drafts) == "nil" then return nil end
  if type(options.default_drafts) ~= "nil" then
    return "drafts and default_drafts, want default_drafts alone"
  end
  old_names.once("gdn.engine { drafts = }", "gdn.engine { default_drafts = }")
  options.default_drafts, options.drafts = options.drafts, nil
end

local M = { DOMAINS = DOMAINS, DEFAULTS = DEFAULTS } -- what the table of docs/engine.md says

--- Options with their defaults, where those do not depend on the builder.
---@param given table
---@return table|nil options, string? message
function M.parse(given)
  if type(given) ~= "table" then return nil, "want a table of options, got " .. args.show(given) end
  local options = {}
  for name, default in pairs(DEFAULTS) do options[name] = default end
  local copy, unknown = args.take(given, KNOWN)
  if not copy then return nil, "unknown option " .. args.word(unknown) end
  local message = take_old(copy)
  if message then return nil, message end
  for name, value in pairs(copy) do
    local domain = DOMAINS[name]
    if domain then
      local used, wanted = domain(value)
      if used == nil then return nil, args.wrong(name, value, wanted) end
    end
    options[name] = value
  end
  options.cost, message = cost_model(copy.cost)
  if not options.cost then return nil, message end
  if type(copy.capture_sizes) ~= "nil" then
    local sizes
    sizes, message = capture_sizes(copy.capture_sizes)
    if not sizes then return nil, message end
    options.capture_sizes = sizes
  end
  if type(copy.mixed_capture_sizes) ~= "nil" then
    options.mixed_capture_sizes, message = buckets.parse(copy.mixed_capture_sizes)
    if not options.mixed_capture_sizes then return nil, message end
  end
  if options.policy_seconds and not options.stopwatch then return nil, "policy_seconds wants a stopwatch" end
  if not options.chunked_prefill and options.long_prefill_token_threshold > 0 then
    return nil, "long_prefill_token_threshold wants chunked_prefill"
  end
  return options
end

return M
