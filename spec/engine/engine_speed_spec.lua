-- What makes a step fast, without a clock: it compiles, and it leaves nothing for the collector.
local gdn = require "gdnmeta"
local growth = require "spec.support.growth"
local traceerr = require("jit.vmdef").traceerr

-- Every request decodes; `waiting` more requests of ten users stand in the queue.
local function prepare(policy, drafts, waiting, options, max_model_len)
  local b = { device = "cpu", max_num_seqs = 32, max_requests = 32, max_num_batched_tokens = 1024,
              num_groups = 3,
              num_speculative_tokens = drafts, full_cuda_graph = true, check_unique = false }
  for name, value in pairs(options or {}) do b[name] = value end
  local engine = assert(gdn.engine { builder = assert(gdn.builder(b)), policy = policy, rekey_limit = 8,
                                     max_model_len = max_model_len or 2 ^ 29 })
  for id = 1, 32 + waiting do
    assert(engine:submit { id = id, prompt_tokens = 1 + id % 7, max_tokens = 2 ^ 29, arrival = id,
                           user = "user " .. id % 10 })
  end
  repeat
    local step = assert(engine:step(1))
    engine:complete(step, 1)
  until step.num_rows == 32 and step.prefill_tokens == 0
  return engine
end

local function run(engine, steps)
  for n = 1, steps do
    local step = engine:step(n)
    for row = 0, step.num_rows - 1 do
      local drafts = step.drafts[row]
      step.accepted_drafts[row] = drafts > 0 and (row + n) % (drafts + 1) or 0
    end
    engine:complete(step, n)
  end
end

local CASES = {
  { "fcfs", 0, 0 }, { "fcfs", 3, 0 }, { "decode_first", 0, 0 }, { "fair", 0, 100 }, { "priority", 0, 100 },
  { "shortest_prefill", 0, 100 }, { "deadline", 3, 10 },
}

describe("A step of decodes #jit", function()
  -- First, while nothing here can have been blacklisted. Aborts other than NYI are how trace selection works.
  it("compiles, with no NYI", function()
    for _, case in ipairs(CASES) do
      local engine = prepare(unpack(case))
      local stops, nyi = 0, {}
      local function on_trace(what, _, _, _, code)
        if what == "stop" then stops = stops + 1 end
        if what == "abort" and traceerr[code]:find("NYI", 1, true) then nyi[#nyi + 1] = traceerr[code] end
      end
      jit.flush()
      jit.attach(on_trace, "trace")
      run(engine, 2000)
      jit.attach(on_trace)
      assert.are.same({}, nyi, case[1])
      assert.is_true(stops > 0, "nothing was compiled")
      assert.are.same({}, engine:failures())
      engine:close()
    end
  end)

  it("allocates nothing once warm", function()
    for _, case in ipairs(CASES) do
      local engine = prepare(unpack(case))
      run(engine, 2000)
      local grown = growth(function() run(engine, 20000) end)
      assert.is_true(grown < 16, ("%s grew %.1f KB over 20000 steps"):format(case[1], grown))
      engine:close()
    end
  end)

  it("allocates nothing in mode align, where states move from block to block", function()
    local engine = prepare("fcfs", 2, 0, { mamba_cache_mode = "align", mamba_block_size = 16, num_groups = 2,
                                           max_blocks_per_row = 5000, num_slots = 400 }, 79000)
    run(engine, 2000)
    local grown = growth(function() run(engine, 6000) end)
    assert.is_true(grown < 5, ("grew %.1f KB over 6000 steps"):format(grown))
    assert.is_true(engine:slots().churn > 2000)
    engine:close()
  end)
end)

describe("Requests that come and go #jit", function()
  it("leave the memory flat", function()
    local engine = prepare("fair", 0, 0)
    local next_id = 1000
    local function churn(steps)
      for n = 1, steps do
        next_id = next_id + 1
        assert(engine:submit { id = next_id, prompt_tokens = 1 + n % 50, max_tokens = 3, arrival = n,
                               user = "user " .. next_id % 1000 })
        local step = engine:step(n)
        for row = 0, step.num_rows - 1 do
          if step.samples[row] == 1 and (step.request[row] + n) % 9 == 0 then step.stop[row] = 1 end
        end
        engine:complete(step, n)
      end
      collectgarbage()
      return collectgarbage "count"
    end
    churn(3000)
    local before = churn(2000)
    local after = churn(10000)
    assert.is_true(after - before < 64, ("grew %.1f KB over 10000 requests"):format(after - before))
    assert.are.same({}, engine:failures())
    engine:close()
  end)
end)
