-- Classes of requests: who is of which, what is due to them, and the figures of each.
local classes = require "gdnmeta.sim.classes"
local load = require "gdnmeta.sim.requests"
local raises = require "spec.support.raises"
local sim = require("gdnmeta").sim
local workload = require "gdnmeta.sim.workload"

local function run(o)
  o.preset, o.measure = o.preset or "constant-20ms", false
  return assert(sim.run(o))
end

describe("Classes #lua", function()
  local TWO = "chat:0.7,priority=0,ttft=1; batch:0.3,priority=5,weight=0.5,tpot_ms=250"

  it("are read from a text", function()
    assert.are.same({ { name = "chat", share = 0.7, priority = 0, ttft = 1 },
                      { name = "batch", share = 0.3, priority = 5, weight = 0.5, tpot = 0.25 } },
                        classes.parse(TWO))
    assert.are.same({ { name = "a b", deadline = 3 } }, classes.parse " a b , deadline = 3 ;")
  end)

  it("have settings in seconds and in milliseconds, from 0 on", function()
    for _, name in ipairs { "ttft", "tpot", "deadline" } do
      assert.are.same({ { name = "a", [name] = 0 } }, classes.parse("a," .. name .. "=0"))
      assert.are.same({ { name = "a", [name] = 7 } }, classes.parse("a," .. name .. "=7"))
      assert.are.same({ { name = "a", [name] = 0 } }, classes.parse("a," .. name .. "_ms=0"))
      assert.are.same({ { name = "a", [name] = 7 } }, classes.parse("a," .. name .. "_ms=7000"))
    end
    assert.are.same({ { name = "a", priority = 7, weight = 7 } }, classes.parse "a,priority=7,weight=7")
  end)

  it("that all requests are of have the figures of the run", function()
    for longest = 1, 4 do -- tokens of an answer
      local requests = {}
      for i = 1, 12 do
        requests[i] = { arrival = i / 50, prompt = 40 * i, output = i % longest + 1, class = "all" }
      end
      local r = run { requests = requests, max_num_seqs = 3 }
      for _, name in ipairs { "queue", "ttft", "tpot", "itl", "e2e" } do
        assert.are.same(r[name], r.classes[1][name], name)
      end
      for _, name in ipairs { "requests", "finished", "rejected", "attainment", "goodput",
                              "longest_wait_ms" } do
        assert.are.equal(r[name], r.classes[1][name], name)
      end
    end
  end)

  it("without a share are of no request that is drawn", function()
    local requests = workload.generate { requests = 300 }
    requests[1].class = "b"
    local list = assert(load.requests { requests = requests, seed = 1,
      classes = { { name = "b" }, { name = "a", share = 0.5 }, { name = "c", share = 0 } } })
    for i, r in ipairs(list) do assert.are.equal(i == 1 and "b" or "a", r.class) end
  end)

  it("are refused as a text, naming what is wrong", function()
    local WANTED = "name:share,setting=number;name:share,... with the settings priority, weight, and ttft, "
      .. "tpot, deadline in seconds (or ttft_ms ...)"
    for text, wanted in pairs {
      [""] = WANTED, [";"] = WANTED, [":1"] = WANTED, ["=1"] = WANTED, ["a:1:2"] = WANTED,
        ["a,prio=1"] = WANTED,
      ["a,priority"] = WANTED, ["a,priority="] = WANTED, [",ttft=1"] = WANTED,
      ["a:x"] = "a share of 0 or more for a", ["a:-1"] = "a share of 0 or more for a",
      ["a:1e999"] = "a share of 0 or more for a",
      ["a,ttft=-1"] = "ttft of a in 0 .. 1000000000", ["a,tpot=1e10"] = "tpot of a in 0 .. 1000000000",
      ["a,ttft_ms=1e13"] = "ttft_ms of a in 0 .. 1000000000000",
      ["a,tpot_ms=-1"] = "tpot_ms of a in 0 .. 1000000000000",
      ["a,deadline=-1"] = "deadline of a in 0 .. 1000000000",
      ["a,deadline_ms=-1"] = "deadline_ms of a in 0 .. 1000000000000",
      ["a,priority=nan"] = "priority of a in -1e+15 .. 1e+15",
        ["a,priority=0x1"] = "priority of a in -1e+15 .. 1e+15",
      ["a,weight=0"] = "weight of a in 1e-06 .. 1000000",
        ["a,weight=1e7"] = "weight of a in 1e-06 .. 1000000",
      ["a;a"] = "class a once", ["a,ttft=1,ttft_ms=5"] = "ttft of a once",
        ["a,weight=1,weight=1"] = "weight of a once",
    } do
      assert.are.same({ nil, wanted }, { classes.parse(text) })
    end
    assert.are.same({ { name = "a", ttft = 1e9, weight = 1e6, deadline = 0.5, share = 0, priority = -1e15 } },
      classes.parse "a:0,ttft=1e9,weight=1e6,deadline_ms=500,priority=-1e15")
  end)

  it("are drawn by their shares, and say what a request is due where it does not say so itself", function()
    local requests = workload.generate { requests = 4000 }
    requests[1].class, requests[2].class, requests[3].priority = "batch", "other", -7
    local list = assert(load.requests { requests = requests, classes = classes.parse(TWO), seed = 1 })
    local n = { chat = 0, batch = 0, other = 0 }
    for _, r in ipairs(list) do n[r.class] = n[r.class] + 1 end
    assert.is_true(math.abs(n.chat / 4000 - 0.7) < 0.03 and n.other == 1)
    assert.are.same({ "batch", 5, 0.5, 0.25 }, { list[1].class, list[1].priority, list[1].weight,
      list[1].tpot })
    assert.is_nil(list[2].priority)
    assert.are.equal(-7, list[3].priority)
    local again = assert(load.requests { requests = requests, classes = classes.parse(TWO), seed = 1 })
    for i, r in ipairs(list) do assert.are.equal(r.class, again[i].class) end
    assert.is_nil(requests[5].class)
  end)

  it("reach the policy, and have figures of their own that add up", function()
    local seen = {}
    local r = run { workload = { requests = 300, rate = 14 }, policy = { name = "look", static = true,
      key = function(q)
      seen[q.class] = { q.priority, q.weight, q.ttft, q.tpot, q.deadline - q.arrival }
      return q.priority * 1e6 + q.arrival
    end }, classes = classes.parse(TWO .. ";late:0.1,deadline=9"), trusted = true }
    assert.are.same({ chat = { 0, 1, 1, 0.1, 1 }, batch = { 5, 0.5, 2, 0.25, 2 } },
      { chat = seen.chat, batch = seen.batch })
    assert.is_true(math.abs(seen.late[5] - 9) < 1e-9)
    local requests, finished, met = 0, 0, 0
    for _, c in ipairs(r.classes) do
      requests, finished = requests + c.requests, finished + c.finished
      met = met + c.attainment * c.requests
    end
    assert.are.same({ r.requests, r.finished }, { requests, finished })
    assert.is_true(math.abs(met - r.attainment * r.requests) < 1e-6)
    assert.are.equal("chat", r.classes[1].name)
    assert.are.same({ "classes chat (priority 0, first token within 1 s), batch (priority 5, weight 0.5, "
      .. "0.25 s per token), late (done 9 s after arrival)" }, r.setup.notices)
    local text = sim.report(r)
    for _, name in ipairs { "chat", "batch", "late" } do assert.truthy(text:find("\nClass " .. name .. "\n",
      1, true)) end
  end)

  it("have the figures that their requests have", function()
    local requests = workload.generate { requests = 160, rate = 40 }
    for i, r in ipairs(requests) do
      r.class = i % 3 == 0 and "a" or i % 3 == 1 and "b" or nil
      r.ttft = i % 3 == 0 and 0.3 or nil
    end
    local r = run { requests = requests, max_num_seqs = 20, ttft_ms = 900, tpot_ms = 60,
      max_model_len = 2200 }
    local per, ttft = r.per_request, { a = 300, b = 900, none = 900 }
    for _, c in ipairs(r.classes) do
      local n, finished, met, wait, sums = 0, 0, 0, 0, { ttft = 0, e2e = 0, queue = 0, tpot = 0 }
      for i, q in ipairs(per.requests) do
        if (q.class or "none") == c.name then
          n = n + 1
          if per.e2e[i] then
            local tpot = q.output > 1 and (per.e2e[i] - per.ttft[i]) / (q.output - 1) or 0
            finished, wait = finished + 1, math.max(wait, per.queue[i])
            met = met + (per.ttft[i] <= ttft[c.name] and tpot <= 60 and 1 or 0)
            for name, value in pairs { ttft = per.ttft[i], e2e = per.e2e[i], queue = per.queue[i],
              tpot = tpot } do
              sums[name] = sums[name] + value
            end
          end
        end
      end
      assert.are.same({ n, finished, n - finished }, { c.requests, c.finished, c.rejected })
      assert.is_true(math.abs(met / n - c.attainment) < 1e-12 and math.abs(wait - c.longest_wait_ms) < 1e-6)
      assert.is_true(math.abs(met / r.seconds - c.goodput) < 1e-9)
      for name, sum in pairs(sums) do
        assert.is_true(math.abs(sum / c[name].n - c[name].mean) < 1e-6, name)
      end
      assert.are.same({ finished, finished, finished }, { c.ttft.n, c.e2e.n, c.queue.n })
      assert.is_true(c.rejected > 0 and c.attainment > 0 and c.attainment < 1)
    end
  end)

  it("have gaps of their own: those of the class alone that was held up", function()
    local requests = { { arrival = 0, prompt = 10, output = 50, class = "early" },
                       { arrival = 10, prompt = 10, output = 99, class = "held up" },
                       { arrival = 10.1, prompt = 100000, output = 1, class = "long" } }
    for speculative = 0, 2 do
      local r = run { requests = requests, max_num_batched_tokens = 200000,
        cost = { c0 = 5, c_pf = 0.03 }, num_speculative_tokens = speculative }
      local of, n = {}, 0
      for _, c in ipairs(r.classes) do of[c.name], n = c.itl, n + c.itl.n end
      assert.are.equal(r.itl.n, n)
      assert.are.same({ 5, 5, 5 }, { of.early.p50, of.early.max, of["held up"].p50 })
      assert.are.same({ r.itl.max, { n = 0 } }, { of["held up"].max, of.long })
      assert.is_true(r.itl.max > 3000)
      if speculative == 0 then assert.are.same({ 49, 98 }, { of.early.n, of["held up"].n }) end
    end
  end)

  it("are judged by their own targets", function()
    local function attainment(ttft)
      local r = run { workload = { requests = 200, rate = 9 }, classes = { { name = "a", share = 1,
        ttft = ttft },
                      { name = "b", share = 1 } } }
      local of = {}
      for _, c in ipairs(r.classes) do of[c.name] = c.attainment end
      return of
    end
    local strict, loose = attainment(0.001), attainment(100)
    assert.are.same({ 0, 1 }, { strict.a, loose.a })
    assert.are.equal(strict.b, loose.b)
  end)

  it("are as many as there are, of which sixteen have lines", function()
    local requests = workload.generate { requests = 40 }
    for i, r in ipairs(requests) do r.class = i <= 20 and ("c%02d\27[1m"):format(i) or "most" end
    requests[40].class = nil
    local list = run({ requests = requests }).classes
    assert.are.same({ 18, "most", 19, "c01?[1m" }, { #list, list[1].name, list[1].requests, list[2].name })
    local n = 0
    for _, c in ipairs(list) do n = n + c.requests end
    assert.are.equal(40, n)
    assert.is_nil(run({ workload = { requests = 5 } }).classes)
  end)

  it("are refused where they say nothing that can be", function()
    raises("sim.run: classes[1].name = nil, want a name", function() sim.run { classes = { {} } } end)
    raises("sim.run: classes[2] = 3, want a table", function() sim.run { classes = { { name = "a" },
      3 } } end)
    raises('sim.run: classes[1].share = -1, want 0 or more',
      function() sim.run { classes = { { name = "a", share = -1 } } } end)
    raises('sim.run: classes[1].ttft = "1", want a finite number',
      function() sim.run { classes = { { name = "a", ttft = "1" } } } end)
    raises("sim.run: classes[1]: unknown field prio", function() sim.run { classes = { { name = "a",
      prio = 1 } } } end)
    assert.are.same({ nil, "classes: no request is of class a; a share (a:0.5) gives it some without one" },
      { sim.run { classes = { { name = "a" } } } })
  end)
end)
