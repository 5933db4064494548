-- Classes of requests and sessions in closed loop: what each request is due, and when the next turn comes.
local arrivals = require "gdnmeta.sim.arrivals"
local classes = require "gdnmeta.sim.classes"
local gdn = require "gdnmeta"
local load = require "gdnmeta.sim.load"
local raises = require "spec.support.raises"
local sim = gdn.sim
local trace = require "gdnmeta.sim.trace"
local workload = require "gdnmeta.sim.workload"

local ns = arrivals.ns

local function run(o)
  o.preset, o.measure = o.preset or "constant-20ms", false
  return assert(sim.run(o))
end

-- Every turn of a run comes when it should: at its own time, or after the one before.
local function check_turns(r, least_turns)
  local per, place, turns = r.per_request, {}, 0
  for i, q in ipairs(per.requests) do place[q] = i end
  for i, q in ipairs(per.requests) do
    local at = ns(per.arrival[i])
    if q.after then
      local j = place[q.after]
      local answered = ns(per.arrival[j]) + (per.e2e[j] or 0) * 1e6
      turns = turns + 1
      local want = q.think and answered + ns(q.think) or math.max(answered, ns(q.arrival))
      if per.e2e[j] then
        assert.is_true(math.abs(at - want) < 1000, ("turn %d at %.0f, want %.0f"):format(i, at, want))
      end
    else
      assert.are.equal(ns(q.arrival), at)
    end
  end
  assert.is_true(turns >= least_turns, turns)
end

describe("Arrivals #lua", function()
  -- Against a list that is searched from end to end.
  it("come by time, then by number, whoever made them known", function()
    for seed = 1, 60 do
      local random, requests, last = workload.random(seed), {}, {}
      local function draw(n) return math.floor(random() * n) end
      local n = 2 + draw(40)
      for i = 1, n do
        local s = draw(6)
        requests[i] = { arrival = draw(5) + (requests[i - 1] and requests[i - 1].arrival or 0),
          after = last[s],
                        think = draw(2) == 0 and draw(4) or nil }
        last[s] = draw(3) > 0 and requests[i] or nil
      end
      local queue, time, place, taken, now = arrivals.new(requests), {}, {}, {}, 0
      for i, r in ipairs(requests) do
        place[r], time[i] = i, not r.after and ns(r.arrival) or math.huge
      end
      while #taken < n do
        local want = 1
        for i = 2, n do if time[i] < time[want] then want = i end end
        assert.are.equal(time[want], queue:next())
        now = math.max(now, time[want])
        assert.is_nil(queue:take(time[want] - 1))
        assert.are.same({ want, time[want] }, { queue:take(now) })
        taken[#taken + 1], time[want] = want, math.huge
        assert.are.equal(n - #taken, queue.left)
        -- One of those that run ends a while later.
        now = now + draw(3) * 1e9
        queue:ended(want, now)
        for i, r in ipairs(requests) do
          if r.after and place[r.after] == want then
            time[i] = r.think and now + ns(r.think) or math.max(now, ns(r.arrival))
          end
        end
      end
      assert.is_nil(queue:next())
    end
  end)
end)

describe("Sessions #lua", function()
  local SESSIONS = '{"session_id": "a", "timestamp": 1000, "input_length": 10, "output_length": 5}\n'
    .. '{"session_id": "a", "timestamp": 1010, "input_length": 12, "output_length": 7}\n'
    .. '{"session_id": "a", "timestamp": 90000, "input_length": 12, "output_length": 2}\n'
    .. '{"session_id": "b", "timestamp": 95000, "input_length": 13, "output_length": 8}\n'
    .. '{"session_id": "b", "input_length": 14, "output_length": 8, "delay": 1500}\n'
  local function recorded() return assert(trace.parse(SESSIONS, "t")) end

  it("of a trace come at their recorded times, but for turns that have none", function()
    local r = run { requests = recorded() }
    check_turns(r, 1)
    assert.are.same({ 0, 0.01, 89, 94 }, { unpack(r.per_request.arrival, 1, 4) })
    assert.are.same({ "2 sessions in closed loop: 1 of 5 requests wait for the answer before, after the "
      .. "recorded thinking" }, r.setup.notices)
    assert.are.equal(1, run({ requests = recorded(), limit = 4 }).per_request.requests[1].arrival + 1)
  end)

  it("of a trace wait for the answer before, in closed loop", function()
    local r = run { requests = recorded(), closed_loop = true }
    check_turns(r, 3)
    assert.matches("^workload   t, 5 requests, 0%.01%d* sessions a second, seed 1\n", sim.report(r))
    assert.is_true(r.per_request.arrival[2] >= 0.1)
    assert.are.equal(89, r.per_request.arrival[3])
    check_turns(run { requests = recorded(), closed_loop = true, async = true }, 3)
    check_turns(run { requests = recorded(), closed_loop = true, think = 3 }, 3)
  end)

  it("are dealt out, the same for the same seed, under every policy", function()
    local function dealt(more)
      local o = { workload = { requests = 150, rate = 30, output_max = 60 }, sessions = 12, think = 2,
        users = 3 }
      for key, value in pairs(more or {}) do o[key] = value end
      return run(o)
    end
    for _, policy in ipairs { "fcfs", "fair", "decode_first" } do
      local r = dealt { policy = policy }
      check_turns(r, 138)
      assert.are.same({ 150, 0 }, { r.finished, r.rejected })
    end
    local once, again, other = dealt(), dealt(), dealt { seed = 2 }
    assert.are.same(once.per_request.arrival, again.per_request.arrival)
    assert.are_not.same(once.per_request.arrival, other.per_request.arrival)
    local sum, n = 0, 0
    for _, q in ipairs(once.per_request.requests) do
      if q.after then sum, n = sum + q.think, n + 1 end
    end
    assert.is_true(sum / n > 1.5 and sum / n < 2.5, sum / n)
    check_turns(dealt { async = true }, 138)
    check_turns(dealt { num_speculative_tokens = 2 }, 138)
    check_turns(dealt { kv_tokens = 20000 }, 138) -- with preemptions
  end)

  it("go on where a turn is turned away, by the policy or for its length", function()
    local r = run { workload = { requests = 60, rate = 30, output_max = 60 }, sessions = 5, think = 1,
                    policy = { name = "odd", admit = function(q)
                      if q.prompt % 2 == 1 then return nil, "odd" end
                      return true
                    end } }
    check_turns(r, 20)
    assert.is_true(r.rejected > 10 and r.finished > 10 and r.rejected + r.finished == 60)
    r = run { workload = { requests = 60, rate = 30, prompt_max = 3000 }, sessions = 5, think = 1,
      max_model_len = 700 }
    assert.is_true(r.rejected > 10 and r.rejected + r.finished == 60)
  end)

  it("have a rate of their own: of those that begin", function()
    local o = { workload = { requests = 400, rate = 20 }, sessions = 100, seed = 1, rate = 5 }
    local requests = assert(load.requests(o))
    local n, last = 0, 0
    for _, r in ipairs(requests) do
      if not r.after then n, last = n + 1, r.arrival end
    end
    assert.are.equal(100, n)
    assert.is_true(math.abs(99 / last - 5) < 1e-9)
    assert.are.equal(5, requests.rate)
  end)

  it("are refused where there are none", function()
    for message, o in pairs {
      ["closed_loop: no request has a session; sessions (--sessions N) deals them out"] =
        { workload = { requests = 3 }, closed_loop = true },
      ["sessions: every request has a session of its own; closed_loop (--closed-loop) lets its turns wait"] =
        { requests = recorded(), limit = 3, sessions = 2 },
      ["think: no turn waits for another, want closed_loop or sessions"] = { workload = { requests = 3 },
        think = 1 },
      ["time_unit: wants a trace"] = { time_unit = "ms" },
    } do
      assert.are.same({ nil, message }, { sim.run(o) })
    end
    assert(run { requests = recorded(), think = 1 }) -- one turn has no time of its own
  end)
end)

describe("Classes #lua", function()
  local TWO = "chat:0.7,priority=0,ttft=1; batch:0.3,priority=5,weight=0.5,tpot_ms=250"

  it("are read from a text", function()
    assert.are.same({ { name = "chat", share = 0.7, priority = 0, ttft = 1 },
                      { name = "batch", share = 0.3, priority = 5, weight = 0.5, tpot = 0.25 } },
                        classes.parse(TWO))
    assert.are.same({ { name = "a b", deadline = 3 } }, classes.parse " a b , deadline = 3 ;")
    for _, text in ipairs { "", ";", ":1", "a:x", "a:-1", "a:1:2", "a,prio=1", "a,priority", "a,priority=",
      "a,ttft=-1",
                            "a,priority=nan", "a,priority=0x1", "a;a", "a,ttft=1,ttft_ms=5", "a,weight=0",
                              "=1" } do
      local list, wanted = classes.parse(text)
      assert.is_nil(list, text)
      assert.is_string(wanted)
    end
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
      .. "0.25 s a token), late (done 9 s after it came)" }, r.setup.notices)
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
