-- The options that say what is simulated: shared by simulate and sweep, and written out again for the
-- jobs of a sweep.
local fail = require("gdnmeta.cli.values").fail
local inputs = require "gdnmeta.cli.inputs"
local presets = require "gdnmeta.sim.presets"
local range = require("gdnmeta.native.ranges").of
local values = require "gdnmeta.cli.values"

local integer, number, pairs_of = values.integer, values.number, values.pairs_of
local file = values.text "a path"
local preset = values.one_of(unpack(presets.names))
local cost = values.text "name=milliseconds such as c0=12"

local M = {}

local MEANS = { mean = true, spread = true, half_context = true, seed = true } -- numbers of acceptance.new

local function mean_of(spec)
  local given, wanted = pairs_of(spec)
  for name in pairs(given or {}) do
    if not MEANS[name] then return nil, "pairs of mean, spread, half_context and seed" end
  end
  return given, wanted
end

-- A share of accepted drafts per position, or name=number pairs, or a recording.
local function acceptance(spec)
  if spec:find "^[%d.,%s]+$" then
    local rates = {}
    for part in spec:gmatch "[^,%s]+" do
      local rate = values.decimal(part)
      if not rate then return nil, ("numbers such as 0.9,0.8, which %s is not"):format(part) end
      rates[#rates + 1] = rate
    end
    return { rates = rates }
  elseif spec:find "=" then
    return mean_of(spec)
  end
  if spec == "" then return nil, "shares, name=number pairs or a path" end
  local lists, message = require("gdnmeta.sim.recorded_acceptance").read(spec)
  if not lists then fail("--accept: %s", message) end
  return { recorded = lists }
end

-- `agents,sessions=100` is of a kind whose prompts have identity; without a name: lengths alone.
local KINDS = "agents, conversation, synthetic, or name=number,name=number"

local function workload(spec)
  local first, rest = (spec .. ","):match "^%s*([^,]-)%s*,(.*)$"
  local kind = not first:find "=" and first ~= "" and first or nil
  if kind and not require("gdnmeta.sim.dialogues").KINDS[kind] then return nil, KINDS end
  local given, wanted = {}, nil
  if not kind or rest ~= "" then given, wanted = pairs_of(kind and rest:gsub(",$", "") or spec) end
  if given and given.kind == nil then given.kind = kind end
  local part = given and given.kind ~= nil and "dialogues" or "workload"
  local problem = given and require("gdnmeta.sim." .. part).problem(given)
  if problem then fail("--workload: %s", problem) end
  return given, wanted
end

local COUNT = 2^31 - 1

-- { flag, placeholder, option of sim.run, reader, help }; no reader: a flag without a value.
M.list = {
  { "--trace", "FILE", "trace", file,
    "Recorded workload: compact CSV, Azure, BurstGPT, Mooncake, Bailian (none)." },
  { "--workload", "SPEC", "workload", workload,
    "Generated workload: made-up sessions of kind agents, conversation or synthetic, and pairs of sessions, "
      .. "block_size; or name=number pairs of requests, rate, prompt_median, prompt_sigma, prompt_max, "
      .. "output_median, output_sigma, output_max (requests=2000,rate=5.5)." },
  { "--limit", "N", "limit", integer(1, COUNT),
    "Only the first N requests; no more of a trace is read (all)." },
  { "--skip", "N", "skip", integer(0, COUNT), "Skip the first N requests (0)." },
  { "--time-unit", "UNIT", "time_unit", values.one_of("s", "ms", "us", "ns"),
    "Unit of a trace's times: s, ms, us or ns (by its format and columns)." },
  { "--trace-block-size", "N", "trace_block_size", integer(1, 2^20),
    "Tokens that an id of a trace's hash_ids stands for (what the prompts fit: first 512 or, in Bailian's, "
      .. "16)." },
  { "--classes", "SPEC", "classes", require("gdnmeta.sim.classes").parse,
    "Classes with their shares, priorities and targets: 'chat:0.7,priority=0,ttft=1;batch:0.3,priority=5' "
      .. "(a trace's)." },
  { "--closed-loop", nil, "closed_loop", nil,
    "A turn of a trace's session waits for the previous answer." },
  { "--sessions", "N", "sessions", integer(1, 1000000),
    "Distribute requests to N sessions in closed loop; --rate then counts sessions (a trace's)." },
  { "--think", "S", "think", number(0, 1e9),
    "Seconds between an answer and the next turn, on average (10; a trace's own)." },
  { "--users", "N", "users", integer(1, 1000000),
    "Spread requests over N users (8; a trace's own)." },
  { "--seed", "N", "seed", integer(0, 2^32 - 1), "Seed of all random numbers (1)." },
  { "--preset", "NAME", "preset", preset,
    "Step cost to start from: " .. table.concat(presets.names, ", ") .. " (" .. presets.DEFAULT .. ")." },
  { "--cost", "SPEC", "cost", cost, "Step cost in ms, such as c0=12,c_pf=0.07,c_seq=0.1 (the preset's)." },
  { "--calibrate", "LOG", "calibrate", file, "Fit the step cost to a CSV of measured steps (none)." },
  { "--ttft-ms", "MS", "ttft_ms", number(0, 1e9), "Target: time to first token (2000)." },
  { "--tpot-ms", "MS", "tpot_ms", number(0, 1e9), "Target: time per output token (100)." },
  { "--gap-ms", "MS", "gap_ms", number(0, 1e9), "Target: longest gap between tokens (10 times --tpot-ms)." },
  { "--kv-tokens", "N", "kv_tokens", integer(0, 2^40),
    "Attention cache in tokens, at least one block; 0: unlimited (the preset's)." },
  { "--kv-unlimited", nil, "kv_unlimited", nil, "The same as --kv-tokens 0: state slots alone are scarce." },
  { "--kv-headroom", "N", "kv_headroom", integer(0, COUNT),
    "Tokens of each running answer that admissions reserve attention cache for (512)." },
  { "--preempt-limit", "N", "preempt_limit", integer(0, COUNT),
    "How often a request may be evicted for a waiting one (3)." },
  { "--max-seqs", "N", "max_num_seqs", integer(range "max_num_seqs"),
    "Requests that run at once (the preset's)." },
  { "--max-tokens", "N", "max_num_batched_tokens", integer(range "max_num_batched_tokens"),
    "Tokens per step (8192)." },
  { "--max-model-len", "N", "max_model_len", integer(1, COUNT),
    "Longest sequence (what the workload needs)." },
  { "--long-prefill", "N", "long_prefill_token_threshold", integer(0, COUNT),
    "Most prompt tokens per request and step; 0: no limit (0)." },
  { "--slots", "N", "num_slots", integer(2, COUNT),
    "State slots per group, the null slot included (for --max-seqs)." },
  { "--groups", "N", "num_groups", integer(range "num_groups"), "GDN cache groups (3)." },
  { "--cache-mode", "MODE", "mamba_cache_mode", values.one_of("none", "align"), "none, or align (none)." },
  { "--block-size", "N", "mamba_block_size", integer(range "mamba_block_size"),
    "Tokens per block in mode align (544)." },
  { "--drafts", "K", "num_speculative_tokens", integer(range "num_speculative_tokens"),
    "Speculative tokens per step (0)." },
  { "--accept", "SPEC", "acceptance", acceptance,
    "0.9,0.8 by position, or mean=2.5[,spread=0.4], or a recorded CSV (mean of 1 + 0.6 K)." },
  { "--known-lengths", nil, "known_lengths", nil, "Policies see the true length of answers as max_tokens." },
  { "--async", nil, "async", nil, "The host plans one step ahead." },
  { "--trusted", nil, "trusted", nil,
    "Compile files of policies and caches; an endless loop in one then hangs." },
}

local function key(flag) return (flag:sub(3):gsub("%-", "_")) end

--- Declare them.
function M.describe(parser)
  for _, o in ipairs(M.list) do
    if o[4] then parser:option(o[1], o[5]):argname(o[2]):target(key(o[1]))
    else parser:flag(o[1], o[5]):target(key(o[1])) end
  end
end

local function calibrated(options, path, say)
  local fit, message = require("gdnmeta.sim.fit").file(path)
  if not fit then fail("--calibrate: %s", message) end
  say(("calibrated on %d steps: mean error %.1f %%"):format(fit.n, fit.mape))
  for _, b in ipairs(fit.by_batch) do
    say(("  %3d .. %3d rows: %5d steps, %8.2f ms on average, off by %+.2f ms, %.1f %%"):format(
      b.from, b.to, b.n, b.mean_ms, b.mean_error_ms, b.mape))
  end
  options.cost, options.calibrated = fit.coefficients, true
end

--- The options of sim.run, without policy and rate.
---@param args table parsed
---@param say function says a line
---@param of_jobs boolean|nil what is run, other processes run
---@return table options
function M.build(args, say, of_jobs)
  inputs.check(args, of_jobs)
  args.sources = {}
  local options = { sources = args.sources }
  for _, o in ipairs(M.list) do
    local given = args[key(o[1])]
    options[o[3]] = o[4] and values.read(o[1], given, o[4]) or given
  end
  if options.cost and options.calibrate then fail "--cost and --calibrate exclude each other" end
  if options.cost then
    local coefficients, message = require("gdnmeta.sim.cost").parse(options.cost)
    if not coefficients then fail("--cost: %s", message) end
    options.cost = coefficients
  end
  if options.calibrate then calibrated(options, options.calibrate, say) end
  options.calibrate = nil
  if options.acceptance and (options.num_speculative_tokens or 0) == 0 then
    fail("--accept = %s, want --drafts above 0 with it", args.accept)
  end
  if options.think and not (options.sessions or options.closed_loop) then
    fail("--think = %s, want --closed-loop or --sessions with it", args.think)
  end
  if options.trace and options.workload then fail "--trace and --workload exclude each other" end
  if options.kv_unlimited and options.kv_tokens then
    fail "--kv-tokens and --kv-unlimited exclude each other"
  end
  if options.kv_unlimited then options.kv_tokens = 0 end
  options.kv_unlimited = nil
  for _, flag in ipairs { "--time-unit", "--trace-block-size" } do
    if args[key(flag)] and not options.trace then fail("%s wants --trace with it", flag) end
  end
  local has_sessions = options.trace or (options.workload or {}).kind or #(args.cache or {}) > 0
  if options.closed_loop and not has_sessions then fail "--closed-loop wants --trace with it" end
  if not options.trace and not options.users then options.users = 8 end
  return options
end

local MIB = 2^20

--- Read the trace, once for all runs, with a bar where it is large.
---@param options table of sim.run, which get requests instead of the path
---@param progress table of terminal.progress
function M.read_trace(options, progress)
  local path = options.trace
  if not path then return end
  local file_name = path:match "[^/]*$"
  local requests, message = require("gdnmeta.sim.trace").read(path, {
    skip = options.skip, limit = options.limit, time_unit = options.time_unit,
    block_size = options.trace_block_size,
    progress = function(bytes, total)
      total = total or bytes -- a pipe has no size
      if total < 2 * MIB then return end
      progress:show(file_name:sub(1, 14), math.floor(bytes / MIB), math.ceil(total / MIB), "MiB")
    end,
  })
  progress:clear()
  if not requests then fail("%s", message) end
  options.requests = requests
  for _, name in ipairs { "trace", "skip", "limit", "time_unit", "trace_block_size" } do
    options[name] = nil
  end
end

--- The policies on the command line.
---@param args table parsed
---@param load boolean refuse those that cannot be loaded: none is run before the last one is known to be fit
---@return table policies
function M.policies(args, load)
  local policies = #args.policy > 0 and args.policy or { "fcfs" }
  for _, policy in ipairs(policies) do
    values.read("--policy", policy, values.text "a name or a path")
    if load then
      local loaded, message = inputs.load("policy", policy, args)
      if not loaded then fail("%s", message) end
    end
  end
  return policies
end

--- The same arguments, for another process.
---@param args table parsed
---@return table argv
function M.again(args)
  local argv = {}
  for _, o in ipairs(M.list) do
    local value = args[key(o[1])]
    if value ~= nil then
      argv[#argv + 1] = o[1]
      if o[4] then argv[#argv + 1] = value end
    end
  end
  return argv
end

return M
