-- Engines for which everything is scarce, as in small_worlds_spec.lua, under policies and caches of every
-- make, which fail now and then, and are exchanged: requests say all that they may or are turned away, all is
-- given back, and what is seen on the way is held against a checksum of spec/goldens/texts.
local all_seen = require "spec.support.all_seen"
local drawer = require "spec.support.drawer"
local random_policy = require "spec.support.random_policy"
local small_world = require "spec.support.small_world"
local traffic = require "spec.support.traffic_engines"
local world_sums = require "spec.support.world_sums"
local wild_cache = require "spec.support.wild_cache"

local WORLDS, BURSTS, PATIENCE = 640, 2, 400

local function configuration(draw)
  local c = small_world.configuration(draw)
  c.is_rich = true
  c.breaker, c.rekey_limit = ({ 1, 3, 1000 })[draw(3)], draw(3)
  c.policy_budget = 1e6 -- no lawful hook comes near: where one is cut off differed by machine
  c.preempt_limit = ({ 0, 1, 3 })[draw(3)]
  c.aging, c.ttft, c.tpot = ({ 0, 5, 20 })[draw(3)], ({ 5, 1e3, math.huge })[draw(3)], ({ 2, 1e3 })[draw(2)]
  c.cost = { predict = function(...) return select("#", ...) end,
             tokens_within = function(seconds, rows) return math.max(seconds, 0) * 2 + rows end }
  if c.hash_block and draw(3) > 1 then c.cache = wild_cache(draw, c.host_slots > 0, draw(2) == 1) end
  return c
end

local function play(case, note)
  local draw = drawer(69621 * case + 3)
  math.randomseed(case)
  local c = configuration(draw)
  local engine = traffic.engine(c, (random_policy.draw(note)))
  local world = small_world.new(c, engine, draw, note, PATIENCE)
  local function on_tick(tick)
    if tick == 4 and draw(3) == 1 then note(engine:set_policy((random_policy.draw(note)))) end
    if tick == 7 and draw(3) == 1 then note(engine:policy_reset()) end
    if tick > 60 and tick % 60 == 0 then engine:set_policy "fcfs" end -- it held them all
  end
  for _ = 1, BURSTS do
    world:burst(on_tick)
    all_seen.engine(note, engine)
    assert(engine:verify())
  end
  small_world.check_books(engine)
  all_seen.failures(note, engine)
  local s = engine.stats
  engine:close()
  return s
end

-- So many engines are sooner done than compiled.
describe("Small worlds under policies of every make #lua", function()
  setup(jit.off)
  teardown(function()
    jit.on()
    math.randomseed(os.time())
  end)

  it("end well, and come to these sums", function()
    world_sums("small-policies", WORLDS, play, function(total)
      return ("%d steps, %d tokens, %d preempted, %d rejected, %d failures"):format(total.steps,
        total.emitted, total.preemptions, total.rejected, total.failures)
    end)
  end)
end)
