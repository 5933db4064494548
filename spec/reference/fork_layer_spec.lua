-- Forks, exports and requests that arrive with state: each equals itself alone, bit for bit, in both modes,
-- with drafts, in buckets and with two steps in flight.
local play = require "spec.support.random_traffic"
local layer_play = require "spec.support.layer_play"

local CASES = math.ceil((tonumber(os.getenv "GDN_CASES") or 2000) / 100)

describe("A layer under an engine that forks #lua", function()
  local function plays(change)
    local forks, exports = 0, 0
    layer_play.each_case(CASES, function(c, where)
      c.forks, c.num_slots = true, c.num_slots + math.random(0, 12)
      if change then change(c) end
      local ok, message, stats = layer_play.run(c, where, layer_play.any_policy(), { forks = 0.3 })
      assert.is_true(ok, message)
      forks, exports = forks + stats.branches.forks, exports + stats.branches.exports
    end)
    assert.is_true(forks > CASES / 8, forks)
    assert.is_true(exports > 0 or CASES < 20, exports)
  end

  it("gives each request what it gives it alone", function() plays() end)

  it("does so in buckets", function() plays(play.in_buckets) end)

  it("does so with two steps in flight", function() plays(function(c) c.async = true end) end)
end)
