-- The search for the highest rate that a policy sustains, over functions whose answer is known.
local max_rate = require "gdnmeta.report.max_rate"

local function run(policy, rate, attainment)
  return { policy = policy, setup = { rate = rate }, attainment = attainment }
end

describe("the highest rate #lua", function()
  local runs
  before_each(function()
    runs = { run("b", 4, 0.95), run("a", 8, 0.2), run("a", 2, 1), run("a", 4, 0.9), run("b", 2, 0.97) }
  end)

  it("lies between the last rate that is served and the first that is not", function()
    local a = max_rate.bracket(runs, "a", 0.9)
    assert.are.same({ 4, 8, 0.9 }, { a.good, a.bad, a.run.attainment })
  end)

  it("is open above when every rate is served, below when none is", function()
    local b, none = max_rate.bracket(runs, "b", 0.9), max_rate.bracket(runs, "b", 0.99)
    assert.are.same({ 4 }, { b.good, b.bad })
    assert.is_nil(none.good)
    assert.are.equal(2, none.bad)
  end)

  it("is looked for by halving, doubling beyond the ends", function()
    assert.are.equal(6, max_rate.next({ good = 4, bad = 8 }, 0.02, 1))
    assert.are.equal(16, max_rate.next({ good = 8 }, 0.02, 1))
    assert.are.equal(1, max_rate.next({ bad = 2 }, 0.02, 1))
    assert.is_nil(max_rate.next({ good = 4, bad = 4.05 }, 0.02, 1))
    assert.is_nil(max_rate.next({ good = 4 }, 0.02, 11))
  end)

  it("is not looked for where the load has no part in it", function()
    local function at(rate, attainment, first_ms)
      local r = run("p", rate, attainment)
      r.ttft = { p50 = first_ms, p90 = 2 * first_ms }
      return r
    end
    local function tried_of(attainment, first_ms)
      local list = { at(8, attainment(8), first_ms(8)) }
      for tried = 1, 20 do
        local rate = max_rate.next(max_rate.bracket(list, "p", 0.9), 0.02, tried)
        if not rate then break end
        list[#list + 1] = at(rate, attainment(rate), first_ms(rate))
      end
      return #list, list[#list].setup.rate
    end
    local function same() return 0.2 end
    local function slower(rate) return rate end
    assert.are.same({ 5, 0.5 }, { tried_of(same, function(rate) return rate > 2 and 9 or 7 end) })
    assert.are.same({ 11, 8 / 2 ^ 10 }, { tried_of(same, slower) }) -- the load has a part in it
    assert.is_true(tried_of(function(rate) return rate > 2 and 0.2 or 0.95 end, same) > 5)
    local up = { at(8, 0.9, 1), at(4, 0.9, 1), at(2, 0.9, 1) }
    assert.are.equal(16, max_rate.next(max_rate.bracket(up, "p", 0.9), 0.02, 1))
  end)

  it("is found to the wanted width", function()
    local list = { run("p", 1, 1), run("p", 32, 0) }
    for tried = 1, 20 do
      local rate = max_rate.next(max_rate.bracket(list, "p", 0.9), 0.02, tried)
      if not rate then break end
      list[#list + 1] = run("p", rate, rate <= 7.3 and 0.9 or 0.89)
    end
    local found = max_rate.bracket(list, "p", 0.9)
    assert.is_true(found.good <= 7.3 and found.bad > 7.3 and found.bad / found.good <= 1.021)
  end)

  it("of runs in order of policy and rate", function()
    max_rate.sort(runs)
    local order = {}
    for i, r in ipairs(runs) do order[i] = r.policy .. r.setup.rate end
    assert.are.same({ "b2", "b4", "a2", "a4", "a8" }, order)
    assert.are.same({ "b", "a" }, max_rate.policies(runs))
  end)
end)
