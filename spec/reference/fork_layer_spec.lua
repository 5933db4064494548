-- Forks, exports and requests that arrive with state: each equals itself alone, bit for bit, in both modes,
-- with drafts, in buckets and with two steps in flight.
local play = require "spec.support.random_traffic"
local layer_play = require "spec.support.layer_play"

local CASES = math.ceil((tonumber(os.getenv "GDN_CASES") or 2000) / 100)

describe("A layer under an engine that forks #lua", function()
  local function plays(change)
    layer_play.until_met(CASES, { forks = CASES / 8, exports = 1 }, function(c, where, met)
      c.forks, c.num_slots = true, c.num_slots + math.random(0, 12)
      if change then change(c) end
      local ok, message, stats = layer_play.run(c, where, layer_play.any_policy(), { forks = 0.3 })
      assert.is_true(ok, message)
      met.forks, met.exports = met.forks + stats.branches.forks, met.exports + stats.branches.exports
    end)
  end

  it("gives each request what it gives it alone", function() plays() end)

  it("does so in buckets", function() plays(play.in_buckets) end)

  it("does so with two steps in flight", function() plays(function(c) c.async = true end) end)
end)
