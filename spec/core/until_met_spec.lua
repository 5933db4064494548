-- Random specs go on until they met what they are about: spec/support/until_met.lua.
local until_met = require "spec.support.until_met"

describe("Random cases", function()
  -- What is met in one case of 100, and the cases that were drawn.
  local function rare(cases, wanted, few)
    local drawn = {}
    local met = until_met(7, cases, { rare = wanted }, function(case, met)
      drawn[#drawn + 1] = case
      if case % 100 == 0 then met.rare = met.rare + 1 end
    end, few)
    return #drawn, drawn[1], drawn[#drawn], met.rare
  end

  it("are as many as asked, and others up to the one that shows what is wanted", function()
    assert.are.same({ 300, 7, 306, 3 }, { rare(300, 2) })
    assert.are.same({ 94, 7, 100, 1 }, { rare(10, 1) })
    assert.are.same({ 394, 7, 400, 4 }, { rare(10, 4) })
    assert.are.same({ 494, 7, 500, 5 }, { rare(50, 5) }) -- ten times as many at most
    assert.are.same({ 494, 7, 500, 5 }, { rare(1, 5, 500) })
  end)

  it("raise what none of them showed", function()
    local why = "rare: met %d times in the %d cases from 7, want %d at least"
    assert.has_error(function() rare(10, 5) end, why:format(4, 400, 5))
    assert.has_error(function() rare(50, 6) end, why:format(5, 500, 6))
    assert.has_error(function() rare(1, 1, 90) end, why:format(0, 90, 1))
  end)
end)
