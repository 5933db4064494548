-- What a run needs, from its options: requests, a builder, an engine, a cost model, an acceptance model.
local gdn = require "gdnmeta"
local acceptance = require "gdnmeta.sim.acceptance"
local wall_clock = require "gdnmeta.sim.wall_clock"
local cost = require "gdnmeta.sim.cost"
local domains = require "gdnmeta.native.domains"
local given = require "gdnmeta.native.options"
local load = require "gdnmeta.sim.requests"
local presets = require "gdnmeta.sim.presets"
local prompt_ids = require "gdnmeta.sim.prompt_ids"
local range = require("gdnmeta.native.ranges").of
local foreign_text = require "gdnmeta.native.foreign_text"

local integer, number, flag, of_type = domains.integer, domains.number, domains.flag, domains.of_type
local text, list = of_type "string", of_type "table"

local M = {}

local COUNT = integer(1, 2^31 - 1)
local MS = number(0, math.huge)

-- name -> default, domain. kv_tokens and max_num_seqs come with the preset.
M.OPTIONS = {
  policy = { "fcfs" }, trusted = { false, flag }, -- what gdn.policy takes
  sources = { nil, list }, -- texts of files of policies and caches that were read already, by path
  -- The workload: one of these three, or none for the default one.
  requests = { nil, list }, trace = { nil, text }, workload = { nil, list },
  rate = { nil, number(1e-6, 1e6) }, -- requests per second; default: as they come
  skip = { nil, integer(0, 2^31 - 1) }, limit = { nil, COUNT }, -- the first so many requests, after these
  time_unit = { nil, text }, -- of a trace: s, ms, us, ns; default: its format's
  trace_block_size = { nil, integer(1, 2^20) }, -- tokens of its hash_ids; default: what prompts bear out
  classes = { nil, list }, -- of { name, share, priority, weight, ttft, tpot, deadline }
  closed_loop = { false, flag }, -- a turn of a trace's session waits for the answer before
  sessions = { nil, integer(1, 1e6) }, -- closed loop: to deal requests without a session to
  think = { nil, number(0, 1e9) }, -- seconds from an answer to the next turn; default: the trace's, else 10
  known_lengths = { false, flag }, -- max_tokens of a request is its true output
  users = { nil, integer(1, 1e6) }, -- to spread requests without a user over
  seed = { 1, integer(0, 2^32 - 1) },
  -- Time: a preset, or coefficients of cost.lua instead of its; were those fitted to measurements?
  preset = { presets.DEFAULT, text }, cost = { nil, list }, calibrated = { false, flag },
  ttft_ms = { 2000, MS }, tpot_ms = { 100, MS }, -- targets
  gap_ms = { nil, MS }, -- the longest gap between tokens; default: 10 times tpot_ms
  async = { false, flag },
  -- Limits.
  max_num_seqs = { nil, integer(range "max_num_seqs") },
  max_num_batched_tokens = { 8192, integer(range "max_num_batched_tokens") },
  max_model_len = { nil, COUNT }, -- default: what the longest request needs
  kv_tokens = { nil, number(0, 2^40) }, -- 0: no limit
  -- Of the engine: default as there.
  kv_headroom = { nil, integer(0, 2^31 - 1) }, preempt_limit = { nil, integer(0, 2^31 - 1) },
  long_prefill_token_threshold = { 0, integer(0, 2^31 - 1) }, chunked_prefill = { true, flag },
  num_slots = { nil, integer(2, 2^31 - 1) }, -- per group; default: what max_num_seqs needs
  -- A state cache: what gdn.cache takes, or true for the built-in one; and the states that it may keep beyond
  -- the slots that max_num_seqs needs, where num_slots does not say how many there are.
  cache = { nil }, cache_slots = { 64, integer(0, 2^22) },
  host_slots = { 0, integer(0, 2^22) }, -- of a cache: states in memory of the host
  host_link = { nil, number(1e-3, 1e6) }, -- GB per second between host and device; default: the preset's
  cache_replies = { false, flag }, -- they leave states, too: a session's next prompt holds them
  -- The model.
  num_groups = { 3, integer(range "num_groups") },
  mamba_cache_mode = { "none", text }, mamba_block_size = { 544, integer(range "mamba_block_size") },
  full_cuda_graph = { true, domains.either(flag, domains.one_of { "mixed" }) },
  max_cudagraph_capture_size = { 512, integer(range "max_cudagraph_capture_size") },
  num_speculative_tokens = { 0, integer(range "num_speculative_tokens") },
  acceptance = { nil }, -- options of acceptance.new, or a model; default: mean = 1 + 0.6 drafts
  -- How to run.
  device = { "cpu", text }, on_policy_error = { "fallback", text }, aging = { nil, MS },
  measure = { true, flag }, -- wall time of policy and builds
  progress = { nil, of_type "function" }, -- progress(counters, simulated seconds) after every step
}

local function cost_model(o)
  local preset, message = presets.get(o.preset)
  if not preset then return nil, message end
  local coefficients = { async = o.async }
  for name, ms in pairs(o.cost or preset.coefficients) do coefficients[name] = ms end
  return cost.new(coefficients), preset
end

local function acceptance_model(o)
  local model = o.acceptance
  if o.num_speculative_tokens == 0 then
    if model then error("sim.run: acceptance wants num_speculative_tokens (--drafts) above 0", 0) end
    return nil
  end
  if type(model) == "function" then return model end
  local options = { drafts = o.num_speculative_tokens, seed = o.seed }
  model = model or { mean = 1 + 0.6 * o.num_speculative_tokens }
  for name, value in pairs(model) do options[name] = value end
  return acceptance.new(options)
end

-- The longest sequence and the longest output of the workload.
local function lengths(requests)
  local sequence, output = 0, 0
  for _, r in ipairs(requests) do
    sequence, output = math.max(sequence, r.prompt + r.output), math.max(output, r.output)
  end
  return sequence, output
end

-- What max_num_seqs requests need, and a single one that goes on alone (engine/option_rules.lua).
local function slots_of(o, per_request)
  local one = o.mamba_cache_mode == "align" and o.num_speculative_tokens + 2 + (o.async and 2 or 0) or 0
  return 1 + math.max(o.max_num_seqs * per_request, one) + (o.cache and o.cache_slots or 0)
end

local function builder_options(o, max_model_len)
  local drafts, blocks = o.num_speculative_tokens, o.cache and o.num_speculative_tokens + 2 or nil
  local per_request = 1 + drafts
  if o.mamba_cache_mode == "align" then -- a column per block; the running block and the one before
    blocks = math.ceil(max_model_len / o.mamba_block_size) + drafts + (o.cache and 2 or 1)
    per_request = 2 + drafts
  end
  return {
    device = o.device, max_num_seqs = o.max_num_seqs, max_num_batched_tokens = o.max_num_batched_tokens,
    num_speculative_tokens = drafts, full_cuda_graph = o.full_cuda_graph,
    max_cudagraph_capture_size = o.full_cuda_graph and o.max_cudagraph_capture_size or nil,
    mamba_cache_mode = o.mamba_cache_mode, mamba_block_size = o.mamba_block_size, num_groups = o.num_groups,
    num_slots = o.num_slots or slots_of(o, per_request), max_requests = o.max_num_seqs,
    max_blocks_per_row = blocks, check_unique = false, -- the engine's pool guarantees it
  }
end

-- A policy is called by its own name, else by that of its file.
local function policy_name(what, policy)
  if type(what) == "string" then return foreign_text.long(what:match "([^/]*)%.lua$" or what) end
  return policy.name
end

--- Options with their defaults.
---@param opts table see OPTIONS
---@return table
function M.options(opts) return given.parse("sim.run", opts, M.OPTIONS) end

-- The cache's hooks, anew for each run, and what prompts are. Nil and a message; false: there is no cache.
local function cache_of(o, requests)
  if o.cache == nil or o.cache == false then return false, false end
  local cache, problem
  if o.cache ~= true then
    cache, problem = gdn.cache(o.cache, { trusted = o.trusted, source = (o.sources or {})[o.cache] })
    if not cache then return nil, problem end
  end
  local identity, message = prompt_ids.of(requests, o)
  if not identity then return nil, message end
  return cache or false, identity
end

-- Attention cache of the engine: blocks of its own where prompts share them, else only counted.
local function attention(o, identity)
  if o.kv_tokens == 0 then return {} end
  if not identity then return { kv_tokens = o.kv_tokens } end
  local size = identity.kv_block_size
  return { kv_blocks = math.max(1, math.floor(o.kv_tokens / size)), kv_block_size = size }
end

-- Milliseconds that the link takes for a state; nil: the preset does not say what a state weighs.
local function copy_ms(o, preset)
  if not preset.state_bytes then return nil end
  return 1000 * preset.state_bytes / (o.host_link and 1e9 * o.host_link or preset.link)
end

local function prepare(opts)
  local o = M.options(opts)
  local model, preset = cost_model(o)
  if not model then return nil, preset end
  local requests, message = load.requests(o)
  if not requests then return nil, message end
  local sequence, output = lengths(requests)
  o.max_num_seqs = o.max_num_seqs or preset.max_num_seqs
  o.kv_tokens = o.kv_tokens or preset.kv_tokens or 0
  local max_model_len = o.max_model_len or sequence + output + 1
  local policy
  policy, message = gdn.policy(o.policy, { trusted = o.trusted, source = (o.sources or {})[o.policy] })
  if not policy then return nil, message end
  local cache, identity = cache_of(o, requests)
  if cache == nil then return nil, identity end
  if o.host_slots > 0 and not identity then error("sim.run: host_slots wants cache", 0) end
  local kv = attention(o, identity)
  local draw, builders = acceptance_model(o), {}
  for i = 1, o.async and 2 or 1 do
    builders[i], message = gdn.builder(builder_options(o, max_model_len))
    if not builders[i] then return nil, message end
  end
  local engine
  engine, message = gdn.engine {
    builder = builders[1], second_builder = builders[2], policy = policy, async = o.async,
    max_model_len = max_model_len, max_num_seqs = o.max_num_seqs,
    max_num_batched_tokens = o.max_num_batched_tokens,
    long_prefill_token_threshold = o.long_prefill_token_threshold, chunked_prefill = o.chunked_prefill,
    kv_headroom = o.kv_headroom, preempt_limit = o.preempt_limit,
    kv_tokens = kv.kv_tokens, kv_blocks = kv.kv_blocks, kv_block_size = kv.kv_block_size,
    default_drafts = o.num_speculative_tokens,
    host_slots = identity and o.host_slots or nil,
    cache = cache or nil, hash_block_size = identity and identity.hash_block_size or nil,
    ttft = o.ttft_ms / 1000, tpot = o.tpot_ms / 1000, aging = o.aging, on_policy_error = o.on_policy_error,
    cost = model:in_seconds(), seed = o.seed,
    stopwatch = o.measure and function() return wall_clock() / 1e9 end or nil,
  }
  if not engine then return nil, message end
  return { o = o, requests = requests, engine = engine, builders = builders, policy = policy, cost = model,
           preset = preset, draw = draw, max_tokens = output, max_model_len = max_model_len,
           identity = identity, copy_ms = copy_ms(o, preset),
           name = policy_name(o.policy, policy) }
end

--- Everything ready to run, or nil and why not. Options that some constructor refuses are the mistake of the
--- caller of sim.run: the message is raised at that line.
---@param opts table see OPTIONS
---@return table|nil setup what the simulator reads
---@return string? message
function M.new(opts)
  local ok, ready, message = pcall(prepare, opts)
  if ok then return ready, message end
  local refusal = tostring(ready):gsub("^[^:\n]*%.lua:%d+: ", "")
  if not refusal:find "^[%w_.]+: " then error(ready, 0) end -- a fault of ours: leave its place
  error(refusal, 3)
end

-- How many different users, classes and priorities there are.
local function distinct(requests)
  local counts = {}
  for plural, name in pairs { users = "user", classes = "class", priorities = "priority" } do
    local seen, n = {}, 0
    for _, r in ipairs(requests) do
      local value = r[name] == nil and name or r[name] -- none: all alike
      if not seen[value] then seen[value], n = true, n + 1 end
    end
    counts[plural] = n
  end
  return counts
end

--- What a report says about a run's conditions.
---@param s table as M.new gives it
---@return table
function M.describe(s)
  local o, requests = s.o, s.requests
  local facts = { workload = requests.name, rate = requests.rate, max_model_len = s.max_model_len }
  for _, name in ipairs { "seed", "max_num_seqs", "max_num_batched_tokens", "kv_tokens", "kv_headroom",
                          "preempt_limit", "num_groups",
                          "mamba_cache_mode", "num_speculative_tokens", "async", "users" } do
    facts[name] = o[name]
  end
  facts.notices, facts.trace, facts.rate_unit = requests.notices, requests.trace, requests.rate_unit
  facts.cost_name = o.cost and "coefficients given" or s.preset.name .. " (" .. s.preset.about .. ")"
  facts.calibrated, facts.distinct = o.calibrated, distinct(requests)
  facts.coefficients = o.cost or s.preset.coefficients
  return facts
end

return M
