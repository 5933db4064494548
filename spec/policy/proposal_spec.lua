-- What a level 2 policy may do with `plan` and `view`, whenever and however it calls them.
local serve = require "spec.support.run_engine"

local function served(policy, options, requests)
  local engine = serve.engine(policy, options)
  for id = 1, 8 do assert(engine:submit(serve.request(id, requests))) end
  local now = 0
  while not engine:idle() do
    now = now + 1
    assert.is_true(now < 1000, "does not come to an end")
    assert.is_true(engine:complete(assert(engine:step(now)), now))
  end
  assert.are.equal(0, engine:slots().used)
  return engine
end

describe("plan, kept by a policy for its other hooks,", function()
  local CALLS = {
    take = function(plan, i) plan:take(i) end, admit = function(plan, i) plan:admit(i) end,
    skip = function(plan, i) plan:skip(i) end, preempt = function(plan, i) plan:preempt(i) end,
    reject = function(plan, i) plan:reject(i, "no") end, fill = function(plan) plan:fill() end,
  }
  for method, call in pairs(CALLS) do
    it("refuses " .. method, function()
      local plan, number
      local function misuse() call(plan, number) end
      local engine = served({
        step = function(view, given)
          plan = given
          for i in view:waiting() do number = i end
          given:fill()
        end,
        on_preempt = misuse, on_finish = misuse,
      }, { kv_tokens = 64, kv_block_size = 4 }, { max_tokens = 20 })
      assert.are.equal(8, engine.stats.finished)
      assert.is_true(engine.stats.preemptions > 0)
      for _, failure in ipairs(engine:failures()) do
        assert.truthy(failure.message:find(("plan:%s: want it within step"):format(method), 1, true))
      end
      assert.is_true(#engine:failures() >= 3)
    end)
  end
end)

describe("The iterators of view", function()
  for _, list in ipairs { "running", "waiting" } do
    it(list .. " refuse numbers that are no request's", function()
      for _, i in ipairs { -2, 0.5, 2 ^ 30, 1e300, 0 / 0, "0", false } do
        local engine = served(function(view, plan)
          local following, state = view[list]()
          following(state, i)
          plan:fill()
        end)
        assert.are.equal(3, #engine:failures())
        assert.truthy(engine:failures()[1].message:find("view: no request " .. tostring(i), 1, true))
      end
    end)
  end
end)

describe("A budget that ends within a method of plan", function()
  setup(function() -- compiled code runs no hooks: the budget would end elsewhere
    jit.off()
    jit.flush()
  end)
  teardown(function() jit.on() end)

  for _, method in ipairs { "skip", "preempt", "reject" } do
    it("leaves every request its turn: " .. method, function()
      for budget = 1000, 1200 do
        local function spend(view, plan)
          if view.step ~= 2 then return plan:fill() end
          for _ = 1, 900 do end
          for i in view[method == "reject" and "waiting" or "running"](view) do plan[method](plan, i, "") end
          while true do end
        end
        local engine = served(spend, { policy_budget = budget })
        assert.are.equal(8, engine.stats.finished)
        assert.are.equal("instruction budget spent", engine:failures()[1].message:match "instruction .*")
        engine:close()
      end
    end)
  end
end)
