-- What the simulator's options may be and are when left out: the table that its users read.
local acceptance = require "gdnmeta.sim.acceptance"
local cost = require "gdnmeta.sim.cost"
local gdn = require "gdnmeta"
local raises = require "spec.support.raises"
local scenario = require "gdnmeta.sim.scenario"
local trace = require "gdnmeta.sim.trace"
local workload = require "gdnmeta.sim.workload"

local sim = gdn.sim
local MOST = "2147483647"

local WANTED = {
  rate = "a number in 1e-06 .. 1000000", limit = "an integer in 1 .. " .. MOST,
  skip = "an integer in 0 .. " .. MOST, sessions = "an integer in 1 .. 1000000",
  think = "a number in 0 .. 1000000000", time_unit = "a string", classes = "a table",
  trace_block_size = "an integer in 1 .. 1048576", sources = "a table", closed_loop = "true or false",
  users = "an integer in 1 .. 1000000", seed = "an integer in 0 .. 4294967295",
  gap_ms = "a number in 0 .. inf", ttft_ms = "a number in 0 .. inf", tpot_ms = "a number in 0 .. inf",
  aging = "a number in 0 .. inf",
  max_num_seqs = "an integer in 1 .. 65536", max_num_batched_tokens = "an integer in 1 .. " .. MOST,
  cache_slots = "an integer in 0 .. 4194304", cache_replies = "true or false",
  host_slots = "an integer in 0 .. 4194304", host_link = "a number in 0.001 .. 1000000",
  max_model_len = "an integer in 1 .. " .. MOST, kv_tokens = "a number in 0 .. 1099511627776",
  kv_headroom = "an integer in 0 .. " .. MOST, preempt_limit = "an integer in 0 .. " .. MOST,
  long_prefill_token_threshold = "an integer in 0 .. " .. MOST, num_slots = "an integer in 2 .. " .. MOST,
  num_groups = "an integer in 1 .. 64", mamba_block_size = "an integer in 1 .. " .. MOST,
  max_cudagraph_capture_size = "an integer in 1 .. " .. MOST,
  num_speculative_tokens = "an integer in 0 .. 64",
  trusted = "true or false", requests = "a table", trace = "a string", workload = "a table",
  preset = "a string", cost = "a table", calibrated = "true or false", async = "true or false",
  chunked_prefill = "true or false",
  mamba_cache_mode = "a string", full_cuda_graph = 'true, false or "mixed"',
  device = "a string",
  on_policy_error = "a string", measure = "true or false", progress = "a function",
  known_lengths = "true or false",
}

local DEFAULTS = {
  policy = "fcfs", cache_slots = 64, host_slots = 0, cache_replies = false,
  trusted = false, seed = 1, preset = "h100-qwen3.6-27b-fp8", calibrated = false,
  known_lengths = false,
  closed_loop = false, ttft_ms = 2000, tpot_ms = 100, async = false, max_num_batched_tokens = 8192,
  long_prefill_token_threshold = 0, chunked_prefill = true, num_groups = 3, mamba_cache_mode = "none",
  mamba_block_size = 544, full_cuda_graph = true, max_cudagraph_capture_size = 512,
  num_speculative_tokens = 0, device = "cpu", on_policy_error = "fallback", measure = true,
}

local LENGTH, SIGMA = "a number in 1 .. 1073741823", "a number in 0 .. 10"

-- Of the other functions: what is wrong, and what is wanted.
local OTHERS = {
  { "workload.generate", function(o) workload.generate(o) end, {
    seed = "an integer in 0 .. 4294967295", requests = "an integer in 1 .. 10000000",
    rate = "a number in 1e-06 .. 1000000", prompt_median = LENGTH, output_median = LENGTH,
    prompt_sigma = SIGMA, output_sigma = SIGMA, prompt_max = "an integer in 1 .. 1073741823",
    output_max = "an integer in 1 .. 1073741823" } },
  { "acceptance.new", function(o) acceptance.new(o) end, {
    drafts = "an integer in 0 .. 64", rates = "a table", mean = "a number in 1 .. 65", recorded = "a table",
    spread = "a number in 0 .. 64", half_context = "a number in 1 .. inf",
    seed = "an integer in 0 .. 4294967295" } },
  { "sim.sweep", function(o) sim.sweep(o) end, {
    policies = "a table", rates = "a table", attainment = "a number in 0.0001 .. 1",
    precision = "a number in 0.0001 .. 1" } },
}

describe("Options of the simulator #lua", function()
  it("are refused outside of their domains", function()
    for name, wanted in pairs(WANTED) do
      raises(("sim.run: %s = -1, want %s"):format(name, wanted), function() sim.run { [name] = -1 } end)
    end
    raises("sim.run: limit = 1.5, want an integer in 1 .. 2147483647", function() sim.run { limit = 1.5 } end)
    raises('sim.run: limit = "1", want an integer in 1 .. 2147483647', function() sim.run { limit = "1" } end)
    raises("sim.run: num_groups = 65, want an integer in 1 .. 64", function() sim.run { num_groups = 65 } end)
    raises("sim.run: options = 3, want a table or nil", function() sim.run(3) end)
  end)

  it("are refused so wherever they are given", function()
    for _, other in ipairs(OTHERS) do
      local who, call, wanted = unpack(other)
      for name, domain in pairs(wanted) do
        local ok, message = pcall(call, { [name] = -1 })
        assert.is_false(ok)
        local want = ("%s: %s = -1, want %s"):format(who, name, domain)
        assert.are.equal(want, message:sub(-#want))
      end
    end
  end)

  it("are refused at the caller's line by every function that takes some", function()
    for name, call in pairs {
      ["sim.run"] = function(o) sim.run(o) end, ["sim.sweep"] = function(o) sim.sweep(o) end,
      ["workload.generate"] = function(o) workload.generate(o) end,
        ["cost.new"] = function(o) cost.new(o) end,
      ["acceptance.new"] = function(o) acceptance.new(o) end, ["sim.cost"] = function(o) gdn.sim.cost(o) end,
      ["trace.parse"] = function(o) trace.parse("", "t", o) end,
      ["trace.read"] = function(o) trace.read("t", o) end,
      ["gdnmeta.reference.layer"] = function(o) gdn.reference.layer(o) end,
    } do
      local where = ("sim_options_spec.lua:%d: %s: "):format(debug.getinfo(call, "S").linedefined, name)
      for _, wrong in ipairs { { no_such_option = 1 }, { seed = -1, c0 = -1, limit = -1, heads = -1 }, 7 } do
        local ok, message = pcall(call, wrong)
        assert.is_false(ok)
        assert.truthy(message:find(where, 1, true), message)
      end
    end
    for message, call in pairs {
      ["sim.cost: want a preset's name or coefficients"] = function() gdn.sim.cost(nil) end,
      ["sim.sweep: want a policy and a rate at least"] = function() sim.sweep { rates = {} } end,
      ["acceptance.new: drafts is missing"] = function() acceptance.new { mean = 1 } end,
      ["trace.parse: time_unit = h, want s, ms, us or ns"] = function() trace.parse("", "",
        { time_unit = "h" }) end,
      ["gdnmeta.reference.layer: want a table of options, got nil"] = function() gdn.reference.layer() end,
    } do
      raises(message, call)
    end
  end)

  it("have the defaults that are written down, and no others", function()
    local found = {}
    for name, entry in pairs(scenario.OPTIONS) do
      found[name] = entry[1]
      assert.is_true(WANTED[name] ~= nil or name == "policy" or name == "cache"
        or name == "acceptance", name)
    end
    assert.are.same(DEFAULTS, found)
  end)

  it("reach the engine: reserved cache saves work, and a limit of 0 evicts no request", function()
    local function run(options)
      options.measure, options.workload = false, { requests = 150, output_median = 400 }
      options.rate, options.kv_tokens, options.max_num_seqs = 20, 12000, 24
      return assert(sim.run(options))
    end
    local bare, reserved = run { kv_headroom = 0 }, run { kv_headroom = 4000 }
    assert.is_true(bare.preemptions > reserved.preemptions)
    assert.are.same({ 0, 4000 }, { bare.setup.kv_headroom, reserved.setup.kv_headroom })
    local function leave(limit)
      return run({ policy = "priority", preempt_limit = limit, kv_headroom = 4000,
                   classes = { { name = "a", share = 0.5, priority = 0 },
                               { name = "b", share = 0.5, priority = 9 } } }).preemptions
    end
    assert.are.equal(0, leave(0))
    assert.is_true(leave(1) > 0)
  end)
end)

describe("A simulation #lua", function()
  it("of a single request has the slots that its engine wants, in every mode", function()
    local requests = { { arrival = 0, prompt = 20, output = 5 } }
    for _, mode in ipairs { "none", "align" } do
      for drafts = 0, 2 do
        for _, async in ipairs { false, true } do
          local run = sim.run { requests = requests, policy = "fcfs", max_num_seqs = 1,
                                mamba_cache_mode = mode, mamba_block_size = 8,
                                num_speculative_tokens = drafts, async = async }
          assert.are.equal(1, run.finished, ("%s, %d drafts, async %s"):format(mode, drafts, tostring(async)))
        end
      end
    end
  end)
end)
