-- A state cache and a host that does everything wrong: any value for any argument, calls out of order, hooks
-- that yield or call the engine, on the smallest engines that there are. After every call all agrees, every
-- refusal is a message at the host's line, and requests come to their end while all is still pinned and kept.
-- Each row begins with the state of exactly its request's text.
local cache_checks = require "spec.support.cache_checks"
local cache_chaos = require "spec.support.cache_chaos"
local drawer = require "spec.support.drawer"
local followed_states = require "spec.support.followed_states"
local hostile_host = require "spec.support.hostile_host"
local until_met = require "spec.support.until_met"

local CASES, STEPS = tonumber(os.getenv "GDN_CASES") or 25, 150
local WANTED = { wrongs = 500, hits = 20, preemptions = 5, followed = 1000, pins = 1, failures = 50 }

local function pins_of(engine)
  local n = 0
  for k = 1, 5 do
    local session = engine:session("s" .. k)
    n = n + (session and session.pinned and 1 or 0)
  end
  return n
end

describe("A state cache whose host does everything wrong", function()
  it("agrees with itself after every call, serves what was taken, and gives all back", function()
    local seed = tonumber(os.getenv "GDN_SEED") or os.time() % 2 ^ 20 + 1
    until_met(seed, CASES, WANTED, function(case, met)
      local engine, o = hostile_host.engine(drawer(case))
      o.where, o.steps = ("GDN_SEED=%d"):format(case), STEPS
      o.follower = followed_states.new(engine)
      local pins = 0
      function o.on_step() pins = math.max(pins, pins_of(engine)) end
      local host = cache_chaos.play(engine, o)
      cache_checks.empty { engine = engine }
      assert.are.same({ 0, 0, {} }, { engine:slots().used, engine:kv() and engine:kv().used or 0,
                                      engine.private.prefix.sessions }, o.where)
      for name, n in pairs { wrongs = host.wrongs or 0, followed = o.follower.followed, pins = pins,
                             hits = engine.stats.hits, preemptions = engine.stats.preemptions,
                             failures = #engine:failures() } do
        met[name] = met[name] + n
      end
      engine:close()
    end)
  end)
end)
