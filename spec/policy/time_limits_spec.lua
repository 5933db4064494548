-- policy_seconds: a hook that runs too long by the host's stopwatch is cut off, and no other.
local gdn = require "gdnmeta"
local three_requests = require "spec.support.three_requests"

describe("A policy of an engine with a stopwatch", function()
  local builder, engine

  before_each(function()
    builder = assert(gdn.builder { device = "cpu", max_num_seqs = 4, max_num_batched_tokens = 64 })
  end)
  after_each(function()
    engine:close()
    builder:close()
  end)

  local function start(policy, options) engine = three_requests(builder, policy, options) end

  it("is interrupted when its time is over", function()
    local ticks = 0
    start({ chunk = function() while true do end end }, {
      policy_budget = 2 ^ 31 - 1, policy_seconds = 5, stopwatch = function()
        ticks = ticks + 1
        return ticks
      end })
    assert.is_true(engine:step(1).fallback)
    assert.matches("time limit passed", engine:failures()[1].message)
    assert.is_true(ticks < 20)
  end)

  it("is not interrupted as long as there is time", function()
    local asked = 0
    start({ chunk = function(_, want)
      for _ = 1, 1e5 do pcall(function() end) end
      return want
    end }, { policy_budget = 2 ^ 31 - 1, policy_seconds = 5, stopwatch = function()
      asked = asked + 1
      return asked < 3 and 0 or 5 -- so many pass, and no more
    end })
    assert.is_false(engine:step(1).fallback)
    assert.are.same({}, engine:failures())
    assert.is_true(asked > 10)
  end)

  it("has no more time where the stopwatch does not tell it", function()
    for shown, bad in pairs { ["nil"] = function() end, nan = function() return 0 / 0 end } do
      local ticks, good = 0, 0
      local function stopwatch()
        ticks = ticks + 1
        if ticks > good then return bad() end
        return 0
      end
      local policy = { chunk = function(_, want)
        for _ = 1, 1e5 do pcall(function() end) end -- what interrupts it cannot be caught
        return want
      end, on_arrival = function() end }
      local problem = ("stopwatch() = %s, want a finite number of seconds"):format(shown)
      start(policy, { policy_budget = 2 ^ 31 - 1, policy_seconds = 5, stopwatch = stopwatch })
      assert.are.equal(3, #engine:failures()) -- requests arrived, though their policy did not hear of it
      assert.are.equal(3, engine.stats.waiting)
      assert.are.same({ "stopwatch", problem }, { engine:failures()[3].hook, engine:failures()[3].message })
      good = ticks + 2 -- before the plan, and before its first hook
      assert.is_true(engine:step(1).fallback)
      assert.are.equal("chunk", engine:failures()[4].hook)
      assert.matches(problem, engine:failures()[4].message, 1, true)
      engine:close()
    end
  end)
end)
