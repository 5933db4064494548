-- Requests that begin where another left a state before the end of a chunk equal themselves alone, bit for
-- bit, in both modes, in buckets and with two steps in flight.
local play = require "spec.support.random_traffic"
local layer_play = require "spec.support.layer_play"

local CASES = math.ceil((tonumber(os.getenv "GDN_CASES") or 2000) / 100)

describe("A layer under an engine whose prompts leave states within chunks #lua", function()
  local function plays(change)
    layer_play.until_met(CASES, { kept = CASES / 4 }, function(c, where, met)
      c.forks, c.checkpoint_any, c.num_slots = true, true, c.num_slots + math.random(0, 12)
      if change then change(c) end
      local ok, message, stats = layer_play.run(c, where, layer_play.any_policy(), { keeps = true })
      assert.is_true(ok, message)
      met.kept = met.kept + stats.branches.kept
    end)
  end

  it("gives each request what it gives it alone", function() plays() end)

  it("does so in buckets", function() plays(play.in_buckets) end)

  it("does so with two steps in flight", function() plays(function(c) c.async = true end) end)
end)
