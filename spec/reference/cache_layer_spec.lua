-- Sessions with the state cache on: each request equals itself alone, bit for bit, whatever was found,
-- forked, evicted, cancelled or preempted; in both modes, with drafts, in buckets and with two steps in
-- flight.
local play = require "spec.support.random_traffic"
local layer_play = require "spec.support.layer_play"

local CASES = math.ceil((tonumber(os.getenv "GDN_CASES") or 2000) / 100)

describe("A layer under an engine with a state cache #lua", function()
  local function plays(change)
    layer_play.until_met(CASES, { hits = CASES / 4 }, function(c, where, met)
      c.forks, c.num_slots = math.random(3) == 1, c.num_slots + math.random(0, 12)
      if c.align then c.kv_block = c.block end
      c.hash_block = c.kv_block * math.random(c.align and 2 or 4)
      if c.kv_tokens then c.kv_tokens = c.kv_tokens + 2 * c.kv_block end
      if change then change(c) end
      local ok, message, stats = layer_play.run(c, where, layer_play.any_policy(),
                                                { forks = c.forks and 0.2, checkpoints = false })
      assert.is_true(ok, where .. ": " .. tostring(message))
      met.hits = met.hits + stats.hits
    end)
  end

  it("gives each request what it gives it alone", function() plays() end)

  it("does so in buckets", function() plays(play.in_buckets) end)

  it("does so with two steps in flight", function() plays(function(c) c.async = true end) end)
end)
