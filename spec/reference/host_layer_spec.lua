-- Sessions whose states move to the host and back: each request equals itself alone, bit for bit, where the
-- host copies what steps tell; in both modes, with drafts, in buckets and with two steps in flight.
local play = require "spec.support.random_traffic"
local layer_play = require "spec.support.layer_play"

local CASES = math.ceil((tonumber(os.getenv "GDN_CASES") or 2000) / 100)

local function drops_some()
  return { demote = function(node) return node.tokens % 3 == 0 and "drop" or "host" end,
           checkpoints = function(r, _, _, ctx) return { r.prompt_end, unpack(ctx.every(8)) } end }
end

describe("A layer under an engine with a host tier #lua", function()
  local function plays(change)
    layer_play.until_met(CASES, { demoted = CASES, restored = CASES / 4 }, function(c, where, met)
      c.forks = math.random(3) == 1
      if c.align then c.kv_block = c.block end
      c.hash_block, c.host_slots = c.kv_block * math.random(c.align and 2 or 4), math.random(20)
      c.cache = math.random(3) == 1 and drops_some() or nil
      if c.kv_tokens then c.kv_tokens = c.kv_tokens + 2 * c.kv_block end
      if change then change(c) end
      c.num_slots = c.num_spec + 5 + (c.async and 2 or 0) + math.random(0, 6) -- states must leave
      local tier
      local ok, message = layer_play.run(c, where, layer_play.any_policy(), function(_, engine)
        tier = engine.private.prefix.host
        return { requests = play.requests(c, math.random(10, 30)), forks = c.forks and 0.2,
                 checkpoints = false, lose = math.random(4) == 1 and 0.02 }
      end)
      assert.is_true(ok, where .. ": " .. tostring(message))
      met.demoted, met.restored = met.demoted + tier.demotions, met.restored + tier.restores
    end)
  end

  it("gives each request what it gives it alone", function() plays() end)

  it("does so in buckets", function() plays(play.in_buckets) end)

  it("does so with two steps in flight", function() plays(function(c) c.async = true end) end)
end)
