-- Sessions in closed loop: when the next turn comes, and what a run says of it.
local arrivals = require "gdnmeta.sim.arrivals"
local gdn = require "gdnmeta"
local load = require "gdnmeta.sim.requests"
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
  it("come by time, then by number, in whatever order they became known", function()
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
    assert.are.same({ "2 sessions in closed loop: 1 of 5 requests wait for the previous answer, after the "
      .. "recorded thinking" }, r.setup.notices)
    assert.are.equal(1, run({ requests = recorded(), limit = 4 }).per_request.requests[1].arrival + 1)
  end)

  it("of a trace wait for the previous answer, in closed loop", function()
    local r = run { requests = recorded(), closed_loop = true }
    check_turns(r, 3)
    assert.matches("^workload   t, 5 requests, 0%.01%d* sessions per second, seed 1\n", sim.report(r))
    assert.is_true(r.per_request.arrival[2] >= 0.1)
    assert.are.equal(89, r.per_request.arrival[3])
    check_turns(run { requests = recorded(), closed_loop = true, async = true }, 3)
    local drawn = run { requests = recorded(), closed_loop = true, think = 3 }
    check_turns(drawn, 3)
    for i, q in ipairs(drawn.per_request.requests) do -- think is there for recorded turns as well
      if q.after then assert.are_not.equal(r.per_request.requests[i].think, q.think) end
    end
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
                      if q.prompt_tokens % 2 == 1 then return nil, "odd" end
                      return true
                    end } }
    check_turns(r, 20)
    assert.is_true(r.rejected > 10 and r.finished > 10 and r.rejected + r.finished == 60)
    r = run { workload = { requests = 60, rate = 30, prompt_max = 3000 }, sessions = 5, think = 1,
      max_model_len = 700 }
    assert.is_true(r.rejected > 10 and r.rejected + r.finished == 60)
  end)

  it("start with these, on every machine", function()
    local list = assert(load.requests { workload = { requests = 12 }, sessions = 3, think = 10, users = 5,
                                        seed = 1,
                                        classes = { { name = "a", share = 1 }, { name = "b", share = 1 } } })
    local found = {}
    for i, r in ipairs(list) do
      found[i] = ("%s %s %s %s"):format(r.session, r.user, r.class, r.think or "-")
    end
    assert.are.same({
      "session1 user2 b -", "session2 user1 a -", "session3 user3 a -", "session3 user3 a 27.790331",
      "session2 user1 a 13.200764", "session1 user2 b 10.16679", "session2 user1 a 1.413525",
      "session1 user2 b 3.048856", "session3 user3 a 5.407436", "session2 user1 a 22.069383",
      "session3 user3 a 1.012983", "session1 user2 b 2.966376",
    }, found)
  end)

  it("are one user's and of one class each", function()
    local list = assert(load.requests { workload = { requests = 300 }, sessions = 40, users = 8, seed = 3,
                                        classes = { { name = "a", share = 1 }, { name = "b", share = 1 } } })
    local of, users = {}, {}
    for _, r in ipairs(list) do
      local who = r.user .. r.class
      assert.are.equal(of[r.session] or who, who)
      of[r.session], users[who] = who, true
    end
    local n = 0
    for _ in pairs(users) do n = n + 1 end
    assert.is_true(n > 6)
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
      ["think: no turn waits for another, want closed_loop, or sessions (--sessions N)"] = {
        workload = { requests = 3 }, think = 1 },
      ["time_unit: wants a trace"] = { time_unit = "ms" },
      ["trace_block_size: wants a trace"] = { trace_block_size = 16 },
    } do
      assert.are.same({ nil, message }, { sim.run(o) })
    end
    assert(run { requests = recorded(), think = 1 }) -- one turn has no time of its own
  end)
end)
