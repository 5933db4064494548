-- What reports and their pictures make of figures at their bounds: none, one, equal ones. Against
-- spec/goldens/texts.
local cache_charts = require "gdnmeta.report.cache_charts"
local charts = require "gdnmeta.report.charts"
local gnuplot = require "gdnmeta.report.gnuplot"
local identical_runs = require "gdnmeta.report.identical_runs"
local lab = require "gdnmeta.report.lab"
local max_rate = require "gdnmeta.report.max_rate"
local metrics_table = require "gdnmeta.report.metrics_table"
local noted = require "spec.support.noted"
local numbers = require "gdnmeta.sim.numbers"
local sim = require("gdnmeta").sim
local text = require "gdnmeta.report.text"

local notes = noted.new "figures-"
local note, check = notes.note, notes.check

local function run_of(more)
  local o = { measure = false, preset = "constant-20ms", max_num_seqs = 4,
              requests = { { arrival = 0, prompt = 5, output = 2 },
                           { arrival = 1, prompt = 5, output = 2 } } }
  for name, value in pairs(more or {}) do o[name] = value end
  return assert(sim.run(o))
end

describe("At their bounds figures #lua", function()
  local svg, available = gnuplot.svg, gnuplot.available
  before_each(function()
    notes.clear()
    gnuplot.svg = function(_, script) return script end -- a picture is the script that draws it
  end)
  after_each(function() gnuplot.svg, gnuplot.available = svg, available end)

  it("are hit rates of windows, of those that asked for tokens", function()
    local timelines = {
      {}, { { t = 1, steps = 2 } }, { { t = 1, steps = 2, asked = 1, hit = 0 } },
      { { t = 1, steps = 2, asked = 1, hit = 1 }, { t = 2, steps = 1, asked = 0, hit = 0 } },
      { { t = 1, steps = 2, asked = 3, hit = 1 }, { t = 2, steps = 1, asked = 3, hit = 3 },
        { t = 3, steps = 1 }, { t = 24, steps = 1, asked = 2, hit = 1 }, { t = 24.5, steps = 3, asked = 4 },
        { t = 25, steps = 1, asked = 2, hit = 1 }, { t = 26, steps = 1, hit = 1 } },
    }
    for _, seconds in ipairs { 0.5, 24, 36, 48 } do
      for i, timeline in ipairs(timelines) do
        local run = { seconds = seconds, timeline = timeline, cache = { ceiling = 0.5 } }
        local other = { seconds = 99, timeline = timeline }
        local figure, why, title = cache_charts.hits({ run, other }, { "a", "b" })
        note(seconds, i, why, title, figure and figure.svg)
      end
    end
    local function picture(runs) return cache_charts.by_slots(runs, 0.5).svg end
    note("by slots", picture { { name = "a", slots = 4, hit = 0.5 }, { name = "b", slots = 1, hit = 0.25 },
      { name = "a", slots = 1, hit = 0.75 }, { name = "a", slots = 2, hit = 0 } })
    local many = {}
    for i = 1, 40 do many[i] = { name = "a", slots = 4, hit = 0.5 } end
    assert.is_truthy(picture(many):find(("4 50\n"):rep(40), 1, true))
    check "hits"
  end)

  it("have axes of one token and one request at least", function()
    assert.are.same({ seconds = 0, tokens = 1, waiting = 1 }, charts.scale { { seconds = 0, timeline = {} } })
    local function scale(...) return charts.scale { { seconds = 3, timeline = { ... } } } end
    assert.are.same({ seconds = 3, tokens = 1, waiting = 1 },
      scale { decode = 0.5, prefill = 0, padding = 0, waiting = 0 })
    assert.are.same({ seconds = 3, tokens = 7, waiting = 2 },
      scale({ decode = 1, prefill = 2, padding = 4, waiting = 1 },
            { decode = 1, prefill = 1, padding = 1, waiting = 2 }))
  end)

  it("are pictures only where there are points", function()
    local none = { curves = { ttft = {}, itl = {} }, targets = { ttft_ms = 5 } }
    local one = { curves = { ttft = { { 0, 7 } }, itl = { { 0, 7 }, { 1, 8 } } }, targets = { ttft_ms = 5 } }
    for _, runs in ipairs { { none }, { one }, { none, one }, { one, none } } do
      for _, name in ipairs { "ttft", "itl" } do
        local figure, why, title = charts[name](runs, { "a", "b" })
        note(name, #runs, why, title, figure and figure.svg)
      end
    end
    check "points"
  end)

  it("are one plot of seven series, and a plot each of more", function()
    for n = 6, 9 do
      local runs, names = {}, {}
      for i = 1, n do
        runs[i] = { seconds = i / 8, slots = { pool = 5 }, timeline = { { t = 1, slots = i } } }
        names[i] = "n" .. i
      end
      local figure = charts.slots(runs, names)
      note("series", n, figure.title, figure.note, figure.svg)
    end
    check "series"
  end)

  it("are curves over rates, the highest below one a second, at one and above", function()
    for _, most in ipairs { 0.5, 1, 2 } do
      local runs = {}
      for i = 1, 4 do
        runs[i] = { policy = i > 2 and "b" or "a", goodput = i / 8, attainment = 0.75 + i / 10,
                    setup = { rate = i < 4 and most / i or nil } }
      end
      for _, name in ipairs { "goodput", "attainment" } do
        note(name, most, charts[name](runs, 0.85).svg)
        note(name, most, charts[name]({ runs[4] }, 0.85))
      end
    end
    check "rates"
  end)

  it("are no picture where none can be drawn", function()
    gnuplot.svg = function() return nil, "why" end
    local run = { seconds = 1, timeline = { { t = 0.5, decode = 1, prefill = 2, padding = 3, waiting = 4,
      slots = 5, steps = 1, asked = 1, hit = 1 } }, slots = { pool = 5 }, cache = { ceiling = 1 } }
    note("tokens", charts.tokens(run, "fcfs"))
    note("slots", charts.slots({ run }, { "fcfs" }))
    note("hits", cache_charts.hits({ run }, { "fcfs" }))
    note("by slots", cache_charts.by_slots({ { name = "a", slots = 4, hit = 0.5 } }, 1))
    check "undrawn"
  end)

  it("are shares of states where some were made", function()
    local base = run_of()
    for made = 0, 2 do
      for unread = 0, made do
        base.cache = { states_made = made, states_unread = unread, name = "c", slots = 4 }
        for _, section in ipairs(metrics_table.of { base }) do
          if section[1] == "State cache" then
            for _, row in ipairs(metrics_table.filled(section, { base })) do
              note(made, unread, row.label, row.cells or row)
            end
          end
        end
      end
    end
    check "states"
  end)

  it("have a part for each class, in the order in which runs name them", function()
    local function names(...)
      local runs, list = {}, {}
      for i, classes in ipairs { ... } do
        runs[i] = { classes = {} }
        for k, name in ipairs(classes) do runs[i].classes[k] = { name = name } end
      end
      for _, part in ipairs(metrics_table.of(runs)) do list[#list + 1] = part[1] end
      return table.concat(list, ", ")
    end
    note(names())
    note(names({ "a" }))
    note(names({ "a", "b" }, { "a", "b" }))
    note(names({}, { "b", "a" }, { "a", "c" }))
    local runs = { run_of(), run_of() }
    for i, run in ipairs(runs) do
      run.classes = {}
      for k, name in ipairs { "a", "b" } do
        run.classes[k] = { name = name, requests = 10 * i + k, attainment = 1 / (i + k), finished = 7,
                           ttft = { p50 = i, p99 = 2 * k }, itl = { p99 = i + k, max = 3 * i } }
      end
      local fair = i > 1 and { jain = 0.87654, least = 0.5 } or {}
      run.fairness = { backlogged_users = i, jain = fair.jain, least = fair.least, longest_without = i / 3,
                       max_gap = 70 }
    end
    for _, section in ipairs(metrics_table.of(runs)) do
      if section[1]:find "Class" or section[1] == "Fairness" then
        for _, row in ipairs(metrics_table.filled(section, runs)) do
          note(section[1], row.label, row.unit, table.concat(row.texts, " "))
        end
      end
    end
    check "classes"
  end)

  it("are facts and names of runs", function()
    for _, tokens in ipairs { 0, 1, 2 } do
      local run = run_of()
      run.setup.kv_tokens = tokens
      for _, fact in ipairs(text.facts { run }) do note("fact", tokens, fact[1], fact[2]) end
    end
    local runs = { run_of(), run_of() }
    for _, rates in ipairs { { 1, 1 }, { 1, 1 + 1e-6 }, { 1, 1 + 2e-6 }, { 8, 8 + 8 * 2 ^ -20 }, { 2, 1 },
                             { 1 } } do
      runs[1].setup.rate, runs[2].setup.rate = rates[1], rates[2]
      note("names", rates, table.concat(text.names(runs), "; "))
    end
    check "names"
  end)

  it("are of runs that did the same", function()
    local function group(timeline, cache, other)
      local runs = { run_of(), run_of() }
      for _, run in ipairs(runs) do run.timeline, run.cache = timeline, cache end
      if other then runs[2].cache = other end
      runs[2].policy = cache and runs[1].policy or "other"
      note("group", timeline or "no timeline", cache or "no cache",
        table.concat(identical_runs.sentences(runs, { "a", "b" }), "; "))
    end
    group(nil)
    for _, waiting in ipairs { 0, 1, 2 } do group { { waiting = waiting }, {} } end
    group { {}, {} }
    group {}
    for _, most in ipairs { 0, 1, 2 } do
      group(nil, { name = "a", slots = 1, most_states = most, states_evicted = 0 },
        { name = "b", slots = 1, states_evicted = 0 })
    end
    check "same"
  end)

  it("are numbers of either sign, of none, and in columns of any width", function()
    for _, n in ipairs { 0, 0.4, -0.4, 0.5, -0.5, 1, -1, 999, 999.5, 1000, -1000, 1e6, 99.94, 99.95,
                         9.994, 9.995, 0.0999, 0.1, 1e-4, -1e-4 } do
      note(n, numbers.count(n), numbers.count(n, 1), numbers.number(n), numbers.number(-n),
        numbers.percent(n))
    end
    for _, rows in ipairs { {}, { { "a" } }, { { "heading that is long" }, { "a", "b" } },
                            { { "a", "bb", "" } }, { { "a", "", "z" }, { "b", "", "zz" } },
                            { { "a", "b" }, { "longer", "x", "third" }, { "", "", "y", "z" } },
                            { { "x", "y" }, { "alone" }, { "xx", "yyy" } } } do
      note(#rows, (numbers.columns(rows):gsub("\n", "|")))
    end
    check "numbers"
  end)

  it("are sorted by policy and rate, those without a rate first", function()
    for seed = 0, 5 do
      local runs = {}
      for i = 1, 9 do
        local k = (i * (seed + 2)) % 9
        runs[i] = { policy = "p" .. k % 3, setup = { rate = k % 4 > 0 and k % 4 or nil }, n = k }
      end
      local places = {}
      for i, name in ipairs(max_rate.policies(runs)) do places[name] = i end
      max_rate.sort(runs)
      for i = 2, #runs do
        local a, b = runs[i - 1], runs[i]
        assert.is_true(places[a.policy] < places[b.policy] or a.policy == b.policy
          and (a.setup.rate or 0) <= (b.setup.rate or 0))
      end
    end
  end)

  it("are a page without pictures where there is no gnuplot", function()
    local runs = {}
    for i, hit in ipairs { 0, 1, 0.25 } do
      runs[i] = { name = "c" .. i, slots = 4 ^ i, hit = hit, hit_requests = hit / 2, made = i - 1,
                  unused = math.min(i - 1, 1), bytes = i > 1 and 2 ^ 29 * i or nil, first_ms = 10 * i,
                  over_time = {} }
      for k = 1, 3 * i do
        runs[i].over_time[k] = { at = k, hit = hit * k / 9, prompt_tokens = k > 2 and k or 0 }
      end
    end
    local facts = { requests = 1234, workload = "w", block_size = 16, ceiling = 0.5, first_ms = 7.25,
                    notices = { "noted" } }
    note("text", lab.text(runs, facts))
    for _, is in ipairs { false, true } do
      gnuplot.available = function() return is end
      note("page", is, (lab.page(runs, facts, "gdnmeta <x>"):gsub("<style>.-</style>", "")))
    end
    check "lab"
  end)
end)
