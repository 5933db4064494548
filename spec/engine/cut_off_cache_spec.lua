-- A policy whose admission makes others leave the state cache, and that is cut off at any instruction of it:
-- the cache agrees with itself, and gives all back.
local cache_checks = require "spec.support.cache_checks"
local serve = require "spec.support.run_engine"

local function blocks(family, n)
  local list = {}
  for k = 1, n do list[k] = 1000 * family + k end
  return list
end

-- The policy's step is called while requests hold states that one admission is to free.
local function play(step, budget)
  local engine = serve.caching_engine({ policy_budget = 1e6 }, { num_slots = 7 })
  local private, ran, cut_off = engine.private, 0, 0
  for family = 1, 3 do
    assert(engine:submit(serve.request(family, { prompt_tokens = 17, blocks = blocks(family, 4) })))
    while not engine:idle() do assert(engine:complete(assert(engine:step(family)), family)) end
  end
  assert(engine:set_policy { name = "cut off", step = function(view, plan)
    ran = ran + 1
    step(view, plan)
  end })
  if budget then
    local limits = private.hooks.guard.limits
    limits.budget, limits.slice = budget, 1
  end
  assert(engine:submit(serve.request("long", { prompt_tokens = 30 })))
  for n = 1, 6 do
    local family = n % 3 + 1
    assert(engine:submit(serve.request("reads " .. n, { prompt_tokens = 18, blocks = blocks(family, 4) })))
  end
  for now = 10, 12 do
    assert(engine:complete(assert(engine:step(now)), now))
    assert(engine:verify())
  end
  for _, failure in ipairs(engine:failures()) do cut_off = cut_off + (failure.hook == "step" and 1 or 0) end
  assert(engine:set_policy "fcfs")
  local now = 13
  while not engine:idle() do
    assert(engine:complete(assert(engine:step(now)), now))
    now = now + 1
  end
  cache_checks.empty { engine = engine }
  local used = engine:slots().used
  assert(engine:verify())
  engine:close()
  return used, ran, cut_off
end

local function admit_all(view, plan)
  for i in view:waiting() do plan:admit(i) end
end

describe("A state cache that a policy makes room in", function()
  it("agrees with itself wherever the policy is cut off", function()
    local failures, all = 0, 0
    for budget = 20, 1500, 3 do
      local used, ran, failed = play(admit_all, budget)
      assert.are.equal(0, used, "budget " .. budget)
      failures, all = failures + failed, all + ran
    end
    assert.is_true(failures > 0 and failures < all, failures .. " of " .. all)
  end)
end)
