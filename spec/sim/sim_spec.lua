-- gdn.sim as a host uses it: run, sweep, report.
local sim = require("gdnmeta").sim
local raises = require "spec.support.raises"

describe("gdn.sim #lua", function()
  it("sweeps rates for the highest one that a policy stands", function()
    local runs, highest = assert(sim.sweep { policies = { "fcfs" }, rates = { 20, 80 }, precision = 0.05,
      ttft_ms = 100, max_num_seqs = 1, preset = "constant-20ms", measure = false,
      workload = { requests = 200, output_max = 1 } })
    local at = highest.fcfs
    assert.is_true(#runs > 4 and at.bad / at.good <= 1.05)
    assert.is_true(at.run.attainment >= 0.9 and at.run.setup.rate == at.good)
    assert.is_true(at.good > 20 and at.good < 50, at.good) -- 50 a second is all that the server can do
  end)

  it("refuses wrong options at the caller's line, and conditions with a message", function()
    raises("acceptance.new: rates has 1 numbers, want 2, one per draft",
      function() sim.run { num_speculative_tokens = 2, acceptance = { rates = { 1 } } } end)
    raises("sim.run: workload: unknown option request, want one of output_max, output_median, output_sigma, "
      .. "prompt_max, prompt_median, prompt_sigma, rate, requests, seed",
      function() sim.run { workload = { request = 3 } } end)
    raises("gdnmeta.builder: mamba_cache_mode = \"some\", want \"none\", \"align\" or \"all\"",
      function() sim.run { mamba_cache_mode = "some" } end)
    raises("sim.sweep: want a policy and a rate at least", function() sim.sweep { rates = {} } end)
    for who, call in pairs {
      ["sim.run: unknown option x, want one of acceptance, aging, async, "] = function()
        sim.run { x = 1 }
      end,
      ["cost.new: unknown option x, want one of active, async, c0, "] = function()
        sim.run { cost = { x = 3 } }
      end,
      ["sim.sweep: unknown option x, want one of acceptance, aging, async, attainment, "] = function()
        sim.sweep { x = {} }
      end,
      ["sim.sweep: unknown option policy, want one of "] = function() sim.sweep { policy = "fair" } end,
      ["sim.sweep: unknown option rate, want one of "] = function() sim.sweep { rate = 3 } end,
    } do
      local _, message = pcall(call)
      assert.are.equal(who, message:match "^[^:]*%.lua:%d+: (.*)$":sub(1, #who))
    end
    raises("sim.run: rate = 0, want a number in 1e-06 .. 1000000", function() sim.run { rate = 0 } end)
    assert.are.same({ nil, "build/nowhere.csv: No such file or directory" },
      { sim.run { trace = "build/nowhere.csv" } })
    assert.are.same({ nil, "build/nowhere.csv: No such file or directory" },
      { sim.sweep { trace = "build/nowhere.csv" } })
    assert.are.same({ nil, "build/nowhere.csv: No such file or directory" },
      { sim.sweep { trace = "build/nowhere.csv", rates = { 1, 2 } } })
    local _, message = sim.run { preset = "fast" }
    assert.matches("^preset = fast, want one of ", message)
    _, message = sim.run { requests = { { arrival = 1, prompt = 1, output = 1 },
                                        { arrival = 0, prompt = 1, output = 1 } } }
    assert.are.equal("requests[2].arrival = 0.000000, want >= 1.000000: by arrival", message)
    local refused = {
      ["requests[1].output = nil, want an integer in 1 .. 2147483647"] = { arrival = 0, prompt = 1 },
      ["requests[1].prompt = 0, want an integer in 1 .. 2147483647"] =
        { arrival = 1, prompt = 0, output = 1 },
      ["requests[1].arrival = nan, want a finite number of seconds"] =
        { arrival = 0 / 0, prompt = 1, output = 1 },
      ["requests[1] = 7, want a table"] = 7,
    }
    for why, request in pairs(refused) do
      assert.are.same({ nil, why }, { sim.run { requests = { request } } })
    end
  end)
end)
