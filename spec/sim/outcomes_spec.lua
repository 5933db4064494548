-- What a report must not hide: stalls, starving requests, lost tokens, policies that failed, and runs that
-- are the same.
local identical_runs = require "gdnmeta.report.identical_runs"
local blocks = require "spec.support.blocks"
local charts = require "gdnmeta.report.charts"
local pages = require "gdnmeta.report.pages"
local gnuplot = require "gdnmeta.report.gnuplot"
local programs = require "spec.support.program"
local report = require "gdnmeta.report.text"
local sim = require("gdnmeta").sim
local counters = require "gdnmeta.sim.counters"

local function run(opts)
  local o = { preset = "constant-20ms", measure = false, trusted = true,
              workload = { requests = 40, rate = 8 } }
  for name, value in pairs(opts or {}) do o[name] = value end
  return assert(sim.run(o))
end

describe("A request's targets #lua", function()
  local function met(times, tpot, gap)
    local t = counters.new(1)
    t:arrive(1, { prompt = 1 }, 0)
    t:admit(1, { prompt = 1 }, 0)
    for _, now in ipairs(times) do t:emit(1, 1, now) end
    t:finish(1, times[#times], 100, tpot, gap)
    t:close(times[#times])
    return t.met, t.attained[1], t.stalled
  end

  it("are missed by a stall, however good the mean is", function()
    local steady, stall = { 10 }, { 10 }
    for k = 2, 101 do
      steady[k] = 10 + 10 * (k - 1)
      stall[k] = 10 + (k == 101 and 1000 or k - 1) -- the same mean: all but the last at once
    end
    assert.are.same({ 1, 1, 0 }, { met(steady, 10) })
    assert.are.same({ 0, 0, 1 }, { met(stall, 10) })
    assert.are.same({ 1, 1, 0 }, { met(stall, 10, 901) })
    assert.are.same({ 1, 1, 0 }, { met(stall, 100) }) -- ten times the mean one
    assert.are.same({ 0, 0, 1 }, { met(steady, 10, 9) })
  end)

  it("are missed in a run whose prompts hold up the others", function()
    local requests = { { arrival = 0, prompt = 10, output = 200 } }
    for i = 2, 3 do requests[i] = { arrival = 0.1 * i, prompt = 100000, output = 1 } end
    local o = { requests = requests, max_num_batched_tokens = 200000, cost = { c0 = 5, c_pf = 0.03 },
                ttft_ms = 1e5 }
    local whole = run(o)
    assert.is_true(whole.tpot.max < 100 and whole.itl.max > 1000)
    assert.are.same({ 2 / 3, 1 }, { whole.attainment, whole.stalled })
    o.gap_ms = 5000
    assert.are.same({ 1, 0 }, { run(o).attainment, run(o).stalled })
    assert.matches("no gap over 5,000 ms", report.report(run(o)))
  end)
end)

describe("Requests that starve #lua", function()
  -- One seat; who comes later goes first while there is one.
  local function starving()
    local requests = { { arrival = 0, prompt = 10, output = 5 }, { arrival = 0, prompt = 10, output = 1 } }
    for i = 3, 300 do requests[i] = { arrival = 0.09 * (i - 2), prompt = 10, output = 5 } end
    return run { requests = requests, max_num_seqs = 1, ttft_ms = 500, users = 50,
                 policy = { name = "newest", key = function(r) return -r.arrival end, static = true } }
  end

  it("are counted, missed and named", function()
    local r = starving()
    assert.is_true(r.starved >= 1 and r.attainment < 1)
    local text = report.report(r)
    local sentence = "newest starved %d of 300 requests: in the queue for over 10 times the target, request "
      .. "%d for "
    assert.is_truthy(text:find(sentence:format(r.starved, r.longest_waiter), 1, true), text)
    assert.is_truthy(text:find("\n  starved in the queue ", 1, true))
    assert.is_truthy(text:find("\n  the least served, of the mean ", 1, true))
    assert.is_true(r.fairness.longest_without > 5)
  end)

  it("are none where no request waits long", function()
    local r = run()
    assert.are.equal(0, r.starved)
    assert.is_nil(report.report(r):find("10 times the target", 1, true))
  end)
end)

describe("The sums of a run", function()
  -- Evicts every third once it has given tokens, and then turns it away: it finishes never.
  local function rejecting(view, plan)
    for i in view:waiting() do
      if view:request(i).preemptions > 0 then plan:reject(i, "enough") end
    end
    for i in view:running() do
      local r = view:request(i)
      if r.id % 3 == 0 and r.emitted > r.id % 5 then plan:preempt(i) end
    end
    plan:fill()
  end

  it("hold where requests are turned away after they ran", function()
    local turned, unfinished = 0, 0
    for seed = 1, 12 do
      local r = run { policy = rejecting, async = seed % 2 == 0, seed = seed,
                      num_speculative_tokens = seed % 3,
                      workload = { requests = 60, rate = 200, prompt_max = 300, output_max = 200 } }
      turned, unfinished = turned + r.rejected, unfinished + r.conservation.unfinished
      if r.conservation.unfinished > 0 then
        assert.matches(" emitted = all outputs %+ [%d,]+ of requests turned away later", report.report(r))
      end
    end
    assert.is_true(turned > 0 and unfinished > 0, "nothing was tried")
  end)

  it("are checked there too", function()
    local token_accounting = require "gdnmeta.sim.token_accounting"
    local requests = { { prompt = 5, output = 3 }, { prompt = 4, output = 9 } }
    local function books() return { n = 2, done = { 1, 0 }, got = { 3, 2 }, rejected = 1, emitted = 5 } end
    local function stats() return { scheduled = 12, discarded = 5, rejected_drafts = 0, wasted_tokens = 0,
                                    emitted = 5 } end
    assert.are.equal(2, token_accounting.check(requests, books(), stats()).unfinished)
    for message, change in pairs {
      ["13 tokens scheduled, want 12"] = function(_, s) s.scheduled = 13 end,
      ["6 tokens emitted, 5 by the engine, want 5"] = function(b) b.emitted = 6 end,
      ["5 tokens emitted, 4 by the engine, want 5"] = function(_, s) s.emitted = 4 end,
      ["request 2 was given 9 tokens and did not finish, its output is 9"] = function(b) b.got[2] = 9 end,
    } do
      local b, s = books(), stats()
      change(b, s)
      assert.has_error(function() token_accounting.check(requests, b, s) end,
        "the simulated run lost count: " .. message)
    end
  end)
end)

describe("Policies that do the same #lua", function()
  it("are named, with the reason", function()
    local runs = { run { users = nil, requests = { { arrival = 0, prompt = 9, output = 3 },
                                                   { arrival = 0, prompt = 9, output = 3 } } } }
    local requests = runs[1].per_request.requests
    for i, policy in ipairs { "fair", "priority" } do
      runs[i + 1] = run { policy = policy, requests = requests }
    end
    assert.are.same({ false, 1, 1 }, identical_runs.twins(runs))
    local want = "fair, priority did the same as fcfs in every step: all requests are of one user, "
      .. "one class, one priority, and no step left a request waiting"
    assert.is_truthy(report.report(runs):find(want, 1, true))
    assert.is_truthy(pages.simulate(runs, "x"):find(want, 1, true))
  end)

  it("because there was room, or no hit, say so of their caches", function()
    local function runs_of(slots, repeats, first, policies)
      local requests, runs = { block_size = 16 }, {}
      for i = 1, 12 do
        local text = 1000 * (repeats and i % 3 or i)
        requests[i] = { arrival = i, prompt = first and 40 or 32, output = 1,
                        blocks = { text + 1, text + 2 } }
      end
      for i, cache in ipairs { first, "fifo" } do
        runs[i] = run { cache = cache or nil, cache_slots = cache and slots or nil, requests = requests,
                        num_groups = 1, max_num_seqs = 1, policy = policies and policies[i] or nil }
        runs[i].policy = "run " .. i
      end
      return runs
    end
    local same = "run 2 did the same as run 1 in every step: "
    for want, runs in pairs {
      ["no state was evicted, there was room for all 3"] = runs_of(10, true, "gdsf"),
      ["no state was kept"] = runs_of(0, false, "gdsf"),
      ["what their caches decide by does not differ in this workload"] = runs_of(2, false, "gdsf"),
      ["no prompt began with a state of a cache"] = runs_of(0, false, false),
      ["all requests are of one user, one class, one priority, and no step left a request waiting"] =
        runs_of(10, true, "fifo", { "fcfs", "priority" }),
    } do
      assert.are.same({ same .. want }, identical_runs.sentences(runs, report.names(runs)))
    end
  end)

  it("are not named where they differ", function()
    local runs = {}
    for i, policy in ipairs { "fcfs", "shortest_prefill" } do
      runs[i] = run { policy = policy, max_num_seqs = 2, users = 3, workload = { requests = 60, rate = 50 } }
    end
    assert.are.same({}, identical_runs.sentences(runs, report.names(runs)))
    assert.are.same({ "fcfs", "shortest_prefill" }, identical_runs.names(runs, report.names(runs)))
  end)
end)

if gnuplot.available() then
  describe("Pictures of several policies", function()
    local function scales(page)
      local found = {}
      for picture in page:gmatch "<figure>.-</figure>" do
        if picture:find("Tokens per step", 1, true) then
          local labels = {}
          for label in picture:gmatch ">%s*([%d,.]+)</tspan>" do labels[#labels + 1] = label end
          found[#found + 1] = table.concat(labels, " ")
        end
      end
      return found
    end

    it("have the same axes where each has its own", function()
      local small = { name = "small", order = "fcfs",
                      chunk = function(_, want) return math.min(want, 64) end }
      local runs = { run { workload = { requests = 60, rate = 20 } },
                     run { workload = { requests = 60, rate = 20 }, policy = small } }
      assert.is_true(runs[1].batch.most_tokens > 2 * runs[2].batch.most_tokens)
      local found = scales(pages.simulate(runs, "x"))
      assert.are.equal(2, #found)
      assert.are.equal(found[1], found[2])
      assert.is_true(#found[1] > 10, "no labels were found")
    end)

    it("tell lines and dots apart that lie on each other", function()
      local runs = {}
      for i = 1, 4 do
        runs[i] = run { rate = 8 }
        runs[i].policy = "p" .. i
      end
      local seen, radii = {}, {}
      local svg = charts.goodput(runs, 0.5).svg
      for radius in svg:gmatch "<circle [^>]*r='([%d.]+)'" do
        if not seen[radius] then radii[#radii + 1], seen[radius] = radius, true end
      end
      assert.are.equal(4, #radii)
      local page = pages.simulate(runs, "x")
      assert.is_truthy(page:find("p2 (same as p1)", 1, true))
    end)
  end)
end

describe("The command line", function()
  local program
  setup(function() program = programs.new() end)
  teardown(function() program.close() end)

  it("exits with 1 where a policy failed all the time, and says why", function()
    local path = program.write("broken.lua", "return { key = function(r) return r.nothing end }")
    local small = " --workload requests=20,rate=20 --quiet"
    for _, command in ipairs {
      "simulate --policy fcfs --policy " .. path .. small,
      "sweep --rates 5 --precision 90 --policy " .. path .. small,
      "sweep --rates 5 --precision 90 --jobs 2 --policy " .. path .. small,
    } do
      local out, err, status = program.run(command)
      assert.are.equal(1, status, command .. "\n" .. err)
      assert.matches("gdnmeta: policy broken failed and was switched off, the built%-in one planned "
        .. "[%d,]+ of [%d,]+ steps: step %d, key: [^\n]*r has no field nothing, want one of [^\n]*\n$", err)
      assert.is_truthy(out:find("broken", 1, true))
    end
    local _, err, status = program.run("simulate --policy fcfs" .. small)
    assert.are.same({ "", 0 }, { err, status })
  end)

  it("exits with 1 where a policy failed whenever it was asked, however seldom that was", function()
    -- One request at a time: most steps are decodes, in which none of these is asked, and a key in no step.
    for hook, code in pairs {
      key = "return { key = function() error 'no' end, on_emit = function() end }",
      admit = "return { admit = function() return 7 end }",
      on_finish = "return { key = function(r) return r.arrival end, on_finish = function() error 'no' end }",
    } do
      local path = program.write("seldom.lua", code)
      local command = "simulate --quiet --workload requests=5,rate=0.01,output_median=20 --policy " .. path
      local _, err, status = program.run(command)
      assert.are.equal(1, status, hook .. err)
      local line = ("^gdnmeta: policy seldom failed whenever it was asked %%(%s%%), the built%%-in one "
        .. "planned (%%d+) of ([%%d,]+) steps: step %%d+, %s: [^\n]*\n$"):format(hook, hook)
      local n, steps = err:match(line)
      assert.are.equal(hook == "admit" and 5 or 0, tonumber(n), err)
      assert.is_true(tonumber((steps:gsub(",", ""))) > 50)
    end
  end)

  it("exits with 0 where a policy failed now and then", function()
    local code = "return { admit = function(r) if r.id == 7 then error 'no' end return true end }"
    local path = program.write("odd.lua", code)
    local out, err, status = program.run("simulate --quiet --workload requests=20,rate=20 --policy " .. path)
    assert.are.same({ "", 0 }, { err, status })
    assert.matches("\nodd failed: the built%-in policy made %d+ steps; step ", out)
  end)

  it("has a version, in one place", function()
    local version = require "gdnmeta.native.version"
    local out, _, status = program.run "--version"
    assert.are.same({ 0, "gdnmeta " .. version .. "\n" }, { status, out })
    assert.are.equal(version, require("gdnmeta")._VERSION)
    assert.is_truthy(blocks.read "CHANGELOG.md":find("\n## " .. version, 1, true))
  end)

  it("names no source files in its help", function()
    for _, command in ipairs { "", unpack(require("gdnmeta.cli").COMMANDS) } do
      local out, _, status = program.run(command .. " --help")
      assert.are.equal(0, status)
      for word in out:gmatch "[%w_/.-]+%.lua" do assert.are.equal("mine.lua", word) end
    end
  end)
end)
