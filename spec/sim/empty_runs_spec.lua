-- All figures of runs in which nothing happened, or each thing once, fed by hand; classes by their names; and
-- what is measured of the host by a clock that a spec sets. Against spec/goldens/texts.
local by_class = require "gdnmeta.sim.by_class"
local counters = require "gdnmeta.sim.counters"
local noted = require "spec.support.noted"
local summary = require "gdnmeta.sim.summary"
local wall_clock = require "gdnmeta.sim.wall_clock"

local notes = noted.new "empty-runs-"

local MS = 1e6 -- ns

local EVENTS = { "arrive", "admit", "emit", "finish", "reject", "step", "speculate" }

local function happen(t, what, request)
  local now = 3 * MS
  if what == "arrive" then t:arrive(1, request, MS)
  elseif what == "admit" then t:admit(1, request, 2 * MS)
  elseif what == "emit" then t:emit(1, 1, now)
  elseif what == "finish" then t:finish(1, now, 5 * MS, 5 * MS)
  elseif what == "reject" then t:reject(1, now, "why")
  elseif what == "speculate" then t:speculate(0, 0)
  else
    t:step({ kind = "full", rows = 1, tokens = 1, padded = 1, prefill = 1, decode = 0, waiting = 0,
             running = 1, slots = 1 }, now, MS)
  end
end

local function figures_of(names, n)
  local requests = {}
  for i = 1, n do requests[i] = { prompt = 1, class = "c" } end
  local t = counters.new(n, by_class.of(requests))
  for _, name in ipairs(names) do happen(t, name, requests[1]) end
  t:close(4 * MS, MS)
  local figures = summary.figures(t, { budget = 8, slots = 9, ttft_ms = 1, tpot_ms = 2, gap_ms = 3,
                                       stats = { scheduled = #names, discarded = 0 } })
  figures.curves = { #figures.curves.ttft, #figures.curves.itl }
  return figures, by_class.figures(t) or "no classes"
end

describe("A run #lua", function()
  before_each(notes.clear)

  it("in which little happened has these figures", function()
    notes.note("nothing of none:", figures_of({}, 0))
    for _, names in ipairs { { "arrive" }, { "arrive", "reject" }, { "arrive", "admit" },
                             { "arrive", "admit", "reject" }, { "arrive", "admit", "emit" },
                             { "arrive", "admit", "emit", "finish" }, EVENTS, { "arrive", "step" },
                             { "arrive", "speculate" } } do
      notes.note(table.concat(names, " ") .. ":", figures_of(names, 1))
    end
    notes.check "figures"
  end)

  it("has its sixteen most frequent classes, of names of forty bytes", function()
    local requests = {}
    for i = 1, 20 do
      local name = ("%02d"):format(i) .. ("x"):rep(32 + i % 12) .. "end"
      for _ = 1, i % 7 == 0 and 3 or i % 3 do requests[#requests + 1] = { class = name } end
    end
    for _, name in ipairs { "a\nb", "a\127b", "\27[1m", 7, true, "", " " } do
      requests[#requests + 1] = { class = name }
      requests[#requests + 1] = { class = name }
    end
    requests[#requests + 1] = {}
    local classes = by_class.of(requests)
    for k, name in ipairs(classes.names) do
      local n = 0
      for i = 1, #requests do n = n + (classes.of[i] == k and 1 or 0) end
      notes.note(k, ("%q"):format(name), n)
    end
    notes.check "classes"
  end)

  it("is timed by a clock that no one sets", function()
    local first = wall_clock()
    assert.is_true(first / 1e9 < os.time() - 365 * 86400) -- not the time of day
    assert.is_true(wall_clock() >= first)
  end)

  it("costs the host what its clock says, and has arrays of a number for each request", function()
    local TICK, now, sizes = 1234567.8, 0, {} -- ns from one look to the next
    local kept = {}
    for _, name in ipairs { "gdnmeta.sim.wall_clock", "gdnmeta.array_of", "gdnmeta.sim.scenario",
                            "gdnmeta.sim.simulator" } do
      kept[name], package.loaded[name] = package.loaded[name] or false, nil
    end
    package.loaded["gdnmeta.sim.wall_clock"] = function()
      now = now + TICK
      return now
    end
    local array_of = kept["gdnmeta.array_of"] or require "gdnmeta.array_of"
    package.loaded["gdnmeta.array_of"] = function(kind)
      local make = array_of(kind)
      return function(n, ...)
        sizes[#sizes + 1] = n
        return make(n, ...)
      end
    end
    local simulator = require "gdnmeta.sim.simulator"
    package.loaded["gdnmeta.array_of"] = array_of
    local requests = {}
    for i = 1, 7 do requests[i] = { arrival = i, prompt = 5, output = 3 } end
    local r = assert(simulator.run { requests = requests, preset = "constant-20ms" })
    local looks = now / TICK
    for name, module in pairs(kept) do package.loaded[name] = module or nil end
    assert.are.same({ 8, 8, 8 }, { unpack(sizes, #sizes - 2) }) -- after those of modules that it loads
    -- From the run's first look to its last; every figure is a whole number of ticks, in 1/100 us.
    assert.is_true(math.abs(r.wall.seconds * 1e9 - (looks - 1) * TICK) < 1)
    for _, name in ipairs { "policy_us", "build_us" } do
      for _, value in pairs(r.wall[name]) do
        local ticks = math.floor(value / (TICK / 1000) + 0.5)
        assert.are.equal(math.floor(ticks * TICK / 10 + 0.5) / 100, value)
        assert.is_true(ticks >= 1 and ticks < looks / 7)
      end
      assert.is_number(r.wall[name].p50)
    end
  end)
end)
