-- 10,000 steps with everything at once: forks, exports, pins, sessions, cancels, lost devices, a host tier,
-- two steps in flight, policies and caches that loop, err and lie, ids that do not fit and results that
-- cannot be. Each row begins with the state of exactly its request's text.
local cache_checks = require "spec.support.cache_checks"
local cache_chaos = require "spec.support.cache_chaos"
local followed_states = require "spec.support.followed_states"
local drawer = require "spec.support.drawer"
local until_met = require "spec.support.until_met"

local STEPS = tonumber(os.getenv "GDN_STEPS") or 10000
local EACH = 400
local WANTED = { refused = 1, lies = 1, hits = 1, failures = 1, preemptions = 1, demotions = 1, restores = 1 }

describe("A state cache with everything at once", function()
  it("agrees with itself after every step, and gives all back", function()
    local seed = tonumber(os.getenv "GDN_SEED") or os.time() % 2 ^ 20 + 1
    until_met(seed, math.ceil(STEPS / EACH), WANTED, function(case, met)
      local engine, o = cache_chaos.engine(drawer(case))
      o.where, o.steps, o.follower = ("GDN_SEED=%d"):format(case), EACH, followed_states.new(engine)
      local host = cache_chaos.play(engine, o)
      assert.are.equal(0, engine.private.prefix.index:stats().pinned_states, o.where)
      cache_checks.empty { engine = engine }
      assert.are.same({ 0, 0, {} }, { engine:slots().used, engine:kv() and engine:kv().used or 0,
                                      engine.private.prefix.sessions }, o.where)
      for name, n in pairs { refused = host.refused, lies = host.lies, hits = engine.stats.hits,
                             failures = #engine:failures(), preemptions = engine.stats.preemptions,
                             demotions = o.has_host and engine.cache:stats().demoted or 0,
                             restores = o.has_host and engine.cache:stats().restored or 0 } do
        met[name] = met[name] + n
      end
      engine:close()
    end)
  end)
end)
