-- Models of accepted drafts: rates, means, spreads, recordings.
local acceptance = require "gdnmeta.sim.acceptance"
local raises = require "spec.support.raises"

-- Share of steps that accept at least j drafts, for j = 1 .. drafts.
local function shares(draw, drafts, steps)
  local at_least = {}
  for j = 1, drafts do at_least[j] = 0 end
  for _ = 1, steps do
    for j = 1, draw(drafts, 0) do at_least[j] = at_least[j] + 1 end
  end
  for j = 1, drafts do at_least[j] = at_least[j] / steps end
  return at_least
end

local function mean(draw, drafts, steps)
  local sum = 1
  for _, share in ipairs(shares(draw, drafts, steps)) do sum = sum + share end
  return sum
end

describe("acceptance #lua", function()
  it("is, without options, that of the options that are named as default", function()
    for _, o in ipairs { { mean = 2.2, drafts = 3 }, { rates = { 0.9, 0.5, 0.5 }, drafts = 3 } } do
      local named = { seed = 1, spread = 0, half_context = math.huge }
      for name, value in pairs(o) do named[name] = value end
      local a, b = acceptance.new(o)(5), acceptance.new(named)(5)
      for context = 1, 200 do assert.are.equal(b(3, 100 * context), a(3, 100 * context)) end
    end
  end)

  it("has the rates it is given, by position", function()
    local rates = { 0.9, 0.6, 0.1 }
    for j, share in ipairs(shares(acceptance.new { rates = rates, drafts = 3 }(1), 3, 100000)) do
      assert.is_true(math.abs(share - rates[j]) < 0.006, ("position %d: %g"):format(j, share))
    end
  end)

  it("accepts all at rate 1, none at rate 0, never more than there are", function()
    local all = acceptance.new { rates = { 1, 1 }, drafts = 2 }(1)
    local none = acceptance.new { rates = { 0 }, drafts = 1 }(1)
    assert.are.same({ 2, 1, 0, 0 }, { all(2, 0), all(1, 0), all(0, 0), none(1, 0) })
  end)

  it("spreads a mean over the positions with one chance for each next draft", function()
    assert.are.same({ 0.5, 0.25 }, (function()
      local rates = acceptance.rates_of_mean(1.75, 2)
      for j, p in ipairs(rates) do rates[j] = math.floor(p * 1e9 + 0.5) / 1e9 end
      return rates
    end)())
    local draw = acceptance.new { mean = 2.5, drafts = 3 }(1)
    assert.is_true(math.abs(mean(draw, 3, 100000) - 2.5) < 0.02)
  end)

  it("varies between requests as much as it is told", function()
    local model = acceptance.new { mean = 1.98, drafts = 5, spread = 0.37 }
    local sum, squares, n = 0, 0, 1000
    for i = 1, n do
      local own = mean(model(i), 5, 400)
      sum, squares = sum + own, squares + own^2
    end
    assert.is_true(math.abs(sum / n - 1.98) < 0.05, sum / n)
    assert.is_true(math.abs(math.sqrt(squares / n - (sum / n)^2) - 0.37) < 0.05)
  end)

  it("halves with every half_context tokens", function()
    local draw, hits = acceptance.new { rates = { 0.8 }, drafts = 1, half_context = 1000 }(1), 0
    for _ = 1, 100000 do hits = hits + draw(1, 2000) end
    assert.is_true(math.abs(hits / 1e5 - 0.2) < 0.006, hits)
  end)

  it("is a request's own: others and their order do not matter", function()
    local function first(order)
      local model, of = acceptance.new { mean = 3, drafts = 4, seed = 9 }, {}
      for _, i in ipairs(order) do of[i] = model(i) end
      local list = {}
      for k = 1, 50 do list[k] = of[2](4, 0) end
      return list
    end
    assert.are.same(first { 1, 2, 3 }, first { 3, 2 })
    local other = acceptance.new { mean = 3, drafts = 4, seed = 10 }(2)
    local list = {}
    for k = 1, 50 do list[k] = other(4, 0) end
    assert.are_not.same(first { 2 }, list)
  end)

  it("replays what was recorded, in turn and from the start when it ends", function()
    local model = acceptance.new { recorded = { { 1, 4, 2 }, { 3 } } }
    local one, two, three = model(1), model(2), model(3)
    assert.are.same({ 0, 3, 1, 0 }, { one(3), one(3), one(3), one(3) })
    assert.are.same({ 2, 1 }, { two(3), two(1) })
    assert.are.same({ 0, 2 }, { three(2), three(2) })
  end)

  it("refuses at the caller's line", function()
    raises("acceptance.new: want one of rates, mean, recorded", function() acceptance.new { drafts = 1 } end)
    raises("acceptance.new: rates has 1 numbers, want 2, one per draft",
      function() acceptance.new { rates = { 1 }, drafts = 2 } end)
    raises("acceptance.new: rates[2] = 0.9, want a number in 0 .. 0.8",
      function() acceptance.new { rates = { 0.8, 0.9 }, drafts = 2 } end)
    raises("acceptance.new: mean = 4, want at most 3, drafts + 1",
      function() acceptance.new { mean = 4, drafts = 2 } end)
    raises("acceptance.new: recorded[1][2] = 0, want an integer >= 1",
      function() acceptance.new { recorded = { { 1, 0 } } } end)
    raises("acceptance.new: drafts is missing", function() acceptance.new { mean = 2 } end)
  end)
end)
