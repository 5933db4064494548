-- Sentences and names of reports for every figure that a run may have or lack, one figure at a time, against
-- spec/goldens/texts.
local compare = require "gdnmeta.report.compare"
local identical_runs = require "gdnmeta.report.identical_runs"
local lab = require "gdnmeta.report.lab"
local noted = require "spec.support.noted"
local text = require "gdnmeta.report.text"
local sim = require("gdnmeta").sim

local notes = noted.new "report-"

local function copy(value)
  if type(value) ~= "table" then return value end
  local made = {}
  for key, of in pairs(value) do made[key] = copy(of) end
  return made
end

local function run_of(policy, rate, more)
  local o = { measure = false, seed = 3, rate = rate, max_num_seqs = 4,
              workload = { requests = 8, rate = 5, prompt_max = 40, output_max = 5 } }
  for name, value in pairs(more or {}) do o[name] = value end
  local run = assert(sim.run(o))
  run.policy = policy
  return run
end

local CACHE_FAILURE = { step = 12, hook = "worth", message = "no number" }

local FIGURES = {
  failure = { { step = 3, hook = "chunk", message = "nan" } },
  fallbacks = { 0, 1, 1234 },
  rejection = { "request 7: too long" },
  rejected = { 0, 3 },
  starved = { false, 0, 1, 1200 },
  longest_waiter = { 0, 8 },
  longest_wait_ms = { 0, 999, 12345.6 },
  cache = { { failure = CACHE_FAILURE },
            { failure = { switched_off = true, step = 1, hook = "keep", message = "x" } },
            { without_identity = 0 }, { without_identity = 1 },
            { without_identity = 1234, failure = CACHE_FAILURE } },
}
local NAMES = { "cache", "failure", "fallbacks", "longest_wait_ms", "longest_waiter", "rejected", "rejection",
                "starved" }

describe("Sentences of a report #lua", function()
  local one, other
  setup(function() one, other = run_of("one", 4), run_of("other", 4, { max_num_seqs = 1 }) end)
  before_each(notes.clear)

  local function say(title, runs)
    local sentences = text.warnings(runs)
    notes.note(title, #sentences)
    for _, sentence in ipairs(sentences) do notes.note("  " .. sentence) end
  end

  it("are those of its figures", function()
    for _, name in ipairs(NAMES) do
      for _, value in ipairs(FIGURES[name]) do
        local run = copy(other)
        run.starved, run.rejection, run.failure = 2, "request 1: y", { step = 1, hook = "key", message = "z" }
        run[name] = value or nil
        say(name .. " " .. tostring(type(value) == "table" and "given" or value), { copy(one), run })
      end
    end
    say("nothing", { one })
    say("all of two", { other, one, other })
    notes.check "sentences"
  end)

  it("are of runs that did the same, and why they did", function()
    local function group(title, ...)
      local runs, names = {}, {}
      for i, change in ipairs { ... } do
        runs[i], names[i] = copy(one), "run " .. i
        runs[i].setup.distinct = { users = 1, classes = 1, priorities = 1 }
        for name, value in pairs(change) do runs[i][name] = value end
      end
      for _, sentence in ipairs(identical_runs.sentences(runs, names)) do notes.note(title, sentence) end
      notes.note(title, table.concat(identical_runs.names(runs, names), "; "))
    end
    local function cache(name, slots, evicted, most, demoted)
      return { cache = { name = name, slots = slots, states_evicted = evicted or nil, most_states = most,
                         host = demoted and { demoted = demoted } } }
    end
    local waits = { timeline = { { waiting = 0 }, { waiting = 3 } } }
    group("policies", {}, {}, waits, { steps = 1 }, {})
    group("waiting", waits, waits)
    group("distinct", { setup = { rate = one.setup.rate, distinct = { users = 2, classes = 1 } } }, {})
    group("none distinct", { setup = { rate = one.setup.rate }, timeline = waits.timeline }, waits)
    group("cache and none", cache("a", 4, 0, 2), {})
    group("no state", cache("a", 4, 0, 0), cache("b", 4, 0, 0))
    group("room", cache("a", 4, 0, 3), cache("a", 8, 0, 1234))
    group("evicted", cache("a", 4, 1, 3), cache("b", 4, 0, 3))
    group("unknown", cache("a", 4, false, 3), cache("b", 4, 0, 3))
    group("demoted", cache("a", 4, 0, 3, 1), cache("b", 4, 0, 3, 0))
    group("one cache", cache("a", 4, 0, 3), cache("a", 4, 0, 3))
    group("both", cache("a", 4, 0, 3), cache("a", 4, 0, 3), cache("b", 4, 0, 3))
    for _, name in ipairs { "steps", "seconds", "scheduled", "emitted", "preemptions", "rejected",
                            "finished" } do
      group(name, {}, { [name] = -1 })
    end
    for _, times in ipairs { "ttft", "itl", "e2e", "queue" } do
      for _, point in ipairs { "n", "mean", "p50", "p90", "p95", "p99", "max" } do
        local changed = copy(one[times])
        changed[point] = -1
        group(times .. " " .. point, {}, { [times] = changed })
      end
    end
    group("rate", {}, { setup = { rate = 99 } })
    notes.check "same"
  end)

  it("compare runs request by request where both finished one at least", function()
    local function pair(title, ttft, other_ttft)
      local runs = {}
      for i, list in ipairs { ttft, other_ttft } do
        runs[i] = { policy = "run " .. i, requests = #list, per_request = { ttft = list, e2e = list } }
      end
      for _, sentence in ipairs(compare.sentences(runs)) do notes.note(title, sentence) end
      notes.note(title, compare.pair(runs[1], runs[2]))
    end
    pair("none", {}, {})
    pair("one", { 5 }, { 4 })
    pair("one of two", { 5, false }, { 7, 3 })
    pair("no common one", { 5, false }, { false, 3 })
    pair("the same", { 5, 6 }, { 5, 6 })
    pair("many", { 5, 6, 7, 8, 9, 10, 11 }, { 6, 5, 7, 1, 19, 10.5, 12 })
    pair("others", { 5 }, { 4, 3 })
    notes.note("read back", select(2, compare.pair({ requests = 1 }, { requests = 1 })))
    notes.check "pairs"
  end)

  it("are of replays by state slots, with what states take", function()
    local requests = sim.dialogues.generate { kind = "synthetic", sessions = 12, seed = 2 }
    local runs = {}
    for i, bytes in ipairs { 2 ^ 30, 3 * 2 ^ 28, 1 } do
      runs[i] = sim.lab.replay(requests, "every_block", { slots = 8 * i, state_bytes = bytes })
      runs[i].name, runs[i].first_ms, runs[i].bytes = "run " .. i, 100 * i, i < 3 and runs[i].bytes or nil
    end
    notes.note(lab.text(runs, lab.facts(requests, runs[1].ceiling, 321)))
    notes.check "replays"
  end)

  it("have names with rates where those differ", function()
    local function names(title, ...)
      local runs = {}
      for i, rate in ipairs { ... } do
        runs[i] = copy(one)
        runs[i].setup.rate, runs[i].policy = rate or nil, "run " .. i
      end
      notes.note(title, table.concat(text.names(runs), ", "))
    end
    names("none", false)
    names("no rates", false, false)
    names("one", 5)
    names("the same", 5, 5)
    names("nearly", 5, 5 * (1 + 0.9e-6))
    names("hardly", 5, 5 * (1 + 1.1e-6))
    names("two", 5, 7)
    names("three", 9, 5, 7)
    names("last", 5, 5, 7)
    notes.check "names"
  end)

  it("begin with what was run, once for all", function()
    for _, s in ipairs { {}, { rate = 7.25, rate_unit = "sessions" }, { calibrated = true, kv_tokens = 0 },
                         { async = true, num_speculative_tokens = 2, kv_tokens = 12345 },
                         { notices = { "a", "b" } } } do
      local run, second = copy(one), copy(other)
      for name, value in pairs(s) do run.setup[name] = value end
      second.setup.notices = { "b", "c" }
      for _, gap in ipairs { false, 250 } do
        run.targets.gap_ms = gap or nil
        for k, many in ipairs { false, true } do
          for _, fact in ipairs(text.facts({ run, second }, many)) do
            notes.note(tostring(gap) .. k, fact[1], fact[2])
          end
        end
      end
      assert.are.equal(text.report { run }, text.report(run))
    end
    notes.check "facts"
  end)

  it("and its rates have what came from a cache where a run has one", function()
    local runs = { copy(one), copy(one), copy(other) }
    runs[2].cache, runs[3].setup.rate = { hit = 0.25 }, 9
    runs[2].setup.notices = { "a notice" }
    for _, list in ipairs { runs, { runs[1] }, { runs[2] }, { runs[1], runs[3] }, { runs[3], runs[2] } } do
      for line in (text.sweep(list, 0.9) .. "\n"):gmatch "([^\n]*)\n" do notes.note("|", line) end
    end
    notes.check "rates"
  end)
end)
