-- Engines for which everything is scarce, by the thousand: up to five requests of a few tokens, steps of a
-- few tokens, pools with room for little more than one of them. Limits meet there in every way. A request has
-- to say all that it may, and all has to be given back; what is seen on the way is held against a checksum
-- of spec/goldens/texts.
local all_seen = require "spec.support.all_seen"
local drawer = require "spec.support.drawer"
local small_world = require "spec.support.small_world"
local traffic = require "spec.support.traffic_engines"
local world_sums = require "spec.support.world_sums"

local WORLDS, BURSTS = 1200, 3
local POLICIES = {
  "fcfs", "decode_first", "priority", "shortest_prefill", "fair", "deadline",
  { order = "fcfs", decode_first = false, victim = "most_computed", preempt_for = false },
  { order = "fcfs", victim = "least_computed", drafts = 1 },
}

local function play(case, note)
  local draw = drawer(48271 * case + 5)
  local c = small_world.configuration(draw)
  local engine = traffic.engine(c, POLICIES[draw(#POLICIES)])
  local world = small_world.new(c, engine, draw, note)
  for _ = 1, BURSTS do
    world:burst()
    all_seen.engine(note, engine)
    assert(engine:verify())
  end
  small_world.check_books(engine)
  all_seen.failures(note, engine)
  assert.are.equal(0, engine.stats.failures)
  local s = engine.stats
  engine:close()
  return s
end

-- So many engines are sooner done than compiled.
describe("Small worlds", function()
  setup(jit.off)
  teardown(jit.on)

  it("end well, and come to these sums", function()
    world_sums("small-worlds", WORLDS, play, function(total)
      return ("%d steps, %d tokens, %d preempted, %d hits"):format(total.steps, total.emitted,
        total.preemptions, total.hits)
    end)
  end)
end)
