-- Running requests that leave for more important ones, and memory that admissions leave to those that run.
local gdn = require "gdnmeta"
local server = require("spec.support.queueing").server

local FEW = { max_num_seqs = 2, max_requests = 4 }

describe("A more important request", function()
  -- What is full: options of the engine, of the builder, and of the requests.
  local FULL = {
    ["table rows"] = { {}, FEW, {} },
    slots = { {}, { num_slots = 3 }, {} },
    ["the attention cache"] = { { kv_tokens = 448, kv_block_size = 16, kv_headroom = 512 }, {}, {} },
    ["table rows, in align"] = { { max_model_len = 1000 }, { max_num_seqs = 2, mamba_cache_mode = "align",
                                  mamba_block_size = 16, max_blocks_per_row = 64, num_slots = 40 }, {} },
  }
  for what, full in pairs(FULL) do
    it("takes the place of a less important one within 3 steps: " .. what, function()
      local s = server("priority", full[1], full[2])
      for n = 1, 2 do s.submit(n, { priority = 5, max_tokens = 200 }) end
      s.run(10)
      s.submit("vip", { priority = -100, max_tokens = 5 })
      s.run(3)
      assert.is_true((s.first.vip or 99) <= 3, tostring(s.first.vip))
      assert.are.equal(1, s.engine.stats.preemptions)
      assert.are.equal("waiting", s.engine:request(2).state)
      s.run(600)
      assert.is_true(s.engine:idle())
      assert.are.equal(3, s.engine.stats.finished)
      s.close()
    end)
  end

  it("has to be more important, and may be so by little, and the policy's option says whether", function()
    local function waits(policy, running, arrives)
      local s = server(policy, nil, FEW)
      for n = 1, 2 do s.submit(n, { priority = running, max_tokens = 50, arrival = 100 }) end
      s.run(5)
      s.submit("new", { priority = arrives, arrival = 99 })
      s.run(3)
      s.close()
      return not s.first.new
    end
    assert.is_true(waits("priority", 5, 5))
    assert.is_true(waits("priority", 5, 6))
    assert.is_false(waits("priority", 5, 4.5))
    assert.is_false(waits("priority", math.huge, 0))
    assert.is_true(waits({ order = "priority", preempt_for = false }, 5, 1))
    assert.is_false(waits({ order = "priority", preempt_for = true }, 5, 1))
    assert.is_true(waits("fcfs", 5, 1))
    local by_class = { key = function(r) return r.priority end, victim = function(r) return r.priority end,
                       preempt_for = function(r) return r.priority end }
    assert.is_false(waits(by_class, 2, 1))
    assert.is_true(waits(by_class, 2, 2))
    by_class.preempt_for = true
    assert.is_false(waits(by_class, 2, 1))
  end)

  it("takes a place also where the policy held it before, and none while it does", function()
    local open = false
    local s = server({ order = "priority", admit = function(r) return r.id ~= "vip" or open end }, nil, FEW)
    s.submit(1, { priority = 5, max_tokens = 100 })
    s.step()
    s.submit("vip", { priority = -1 })
    s.step()
    s.submit(2, { priority = 5, max_tokens = 100 })
    s.run(5)
    assert.are.equal(0, s.engine.stats.preemptions)
    open = true
    s.run(3)
    assert.is_true((s.first.vip or 99) <= 9, tostring(s.first.vip))
    s.engine:close()
  end)

  it("is asked for again where scores and bounds change by themselves", function()
    for _, fields in ipairs {
      { victim = function(r) return r.emitted end, preempt_for = function() return 20 end },
      { preempt_for = function(r, ctx) return ctx.now > 25 and r.priority * 1e9 or math.huge end },
    } do
      fields.order = "priority"
      local s = server(fields, nil, FEW)
      for n = 1, 2 do s.submit(n, { priority = 5, max_tokens = 300 }) end
      s.run(5)
      s.submit("vip", { priority = -1 })
      s.run(25)
      assert.is_true(s.first.vip and s.first.vip > 10, tostring(s.first.vip))
      s.close()
    end
  end)

  it("evicts no request where that would not be enough", function()
    local s = server("priority", { kv_tokens = 480, kv_block_size = 16 })
    s.submit("low", { priority = 5, max_tokens = 100 })
    s.submit("high", { priority = -5, prompt_tokens = 200, max_tokens = 200 })
    s.run(10)
    s.submit("middle", { priority = 0, prompt_tokens = 300 })
    s.run(20)
    assert.are.equal(0, s.engine.stats.preemptions)
    s.close()
  end)

  it("makes no request leave more than three times, and each comes to its end", function()
    for _, limit in ipairs { 3, 1 } do
      local s = server("priority", { preempt_limit = limit }, { max_num_seqs = 1, max_requests = 2 })
      s.submit("low", { priority = 1000, max_tokens = 30 })
      local most = 0
      for n = 1, 200 do
        s.submit(n, { priority = -n, max_tokens = 3 })
        s.run(2)
        local low = s.engine:request "low"
        if low then most = math.max(most, low.preemptions) end
      end
      assert.is_true(most <= limit)
      s.run(2000)
      assert.are.equal(201, s.engine.stats.finished)
      assert.is_true(s.engine.stats.preemptions <= 201 * limit)
      s.close()
    end
  end)

  it("makes it leave as often where it comes back in between", function()
    for _, limit in ipairs { 3, 1, 0 } do
      local s = server("priority", { preempt_limit = limit }, { max_num_seqs = 1, max_requests = 2 })
      s.submit("low", { priority = 1000, max_tokens = 60 })
      s.step()
      for n = 1, 6 do
        s.submit(n, { priority = -n, max_tokens = 3 })
        s.run(9)
      end
      assert.are.equal(limit, s.engine:request("low").preemptions)
      s.close()
    end
  end)

  it("is served so with two steps in flight", function()
    local function builder() return assert(gdn.builder { device = "cpu", max_num_seqs = 2, max_requests = 2,
                                                         max_rows = 4, max_num_batched_tokens = 64 }) end
    local engine = assert(gdn.engine { builder = builder(), second_builder = builder(), async = true,
                                       policy = "priority" })
    for n = 1, 2 do engine:submit { id = n, prompt_tokens = 5, max_tokens = 60, priority = 5 } end
    local flying, first, born = {}, nil, 10
    for now = 1, 40 do
      if now == born then engine:submit { id = "vip", prompt_tokens = 5, max_tokens = 5, priority = -1 } end
      flying[#flying + 1] = assert(engine:step(now))
      if #flying > 1 then
        local step = table.remove(flying, 1)
        engine:complete(step, now)
        for row = 0, step.num_rows - 1 do
          if step:id(row) == "vip" and step.emitted[row] > 0 then first = first or now - born end
        end
      end
    end
    assert.is_true((first or 99) <= 4, tostring(first))
    assert.are.same({}, engine:failures())
    engine:close()
  end)

  it("is what a policy has to name with a victim", function()
    assert.has_error(function() gdn.policy { preempt_for = true } end,
                     "gdnmeta.policy: preempt_for = true, want a victim hook with it")
    assert.has_error(function() gdn.policy { preempt_for = 3 } end,
                     "gdnmeta.policy: preempt_for = 3, want true, false or a function")
  end)
end)

describe("An admission", function()
  -- Prompts of 400 tokens and answers of 200, in a cache of 1,600: two and a half of them.
  local function recomputed(policy, headroom)
    local s = server(policy, { kv_tokens = 1600, kv_block_size = 16, kv_headroom = headroom },
                     { max_num_seqs = 8 })
    for n = 1, 30 do s.submit(n, { prompt_tokens = 400, max_tokens = 200, arrival = n / 100, ttft = n }) end
    s.run(6000)
    assert.is_true(s.engine:idle())
    local stats = s.engine.stats
    s.close()
    return stats.discarded / stats.scheduled
  end

  it("leaves those that run the cache that they will need soon", function()
    for _, policy in ipairs { "deadline", "fcfs", "priority", "decode_first", "shortest_prefill", "fair" } do
      assert.is_true(recomputed(policy, 512) <= 0.05, policy)
    end
    assert.is_true(recomputed("fcfs", 0) > 0.05)
  end)

  it("is never refused to a request that is alone", function()
    local s = server("fcfs", { kv_tokens = 64, kv_block_size = 16, kv_headroom = 512, kv_watermark = 0.2 })
    for n = 1, 3 do s.submit(n, { prompt_tokens = 40, max_tokens = 9 }) end
    s.run(40)
    assert.are.equal(3, s.engine.stats.finished)
    s.close()
  end)
end)
