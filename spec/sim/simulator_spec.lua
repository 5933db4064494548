-- The simulator's times, worked out by hand: queues, chunks, drafts, graphs.
local raises = require "spec.support.raises"
local sim = require("gdnmeta").sim
local workload = require "gdnmeta.sim.workload"

-- Every step takes 20 ms.
local function run(opts)
  local o = { preset = "constant-20ms", measure = false, num_groups = 1 }
  for name, value in pairs(opts) do o[name] = value end
  return assert(sim.run(o))
end

local function near(want, got, what)
  assert.is_true(math.abs(want - got) < 1e-6, ("%s: want %.9f ms, got %.9f"):format(what, want, got))
end

describe("the simulator #lua", function()
  -- One server with constant service: Lindley's recursion gives every wait.
  it("has the waiting times of a queue with one server", function()
    local requests = workload.generate { requests = 400, rate = 45, output_max = 1, prompt_max = 100 }
    local r = run { requests = requests, max_num_seqs = 1 }
    local wait, last, busy = 0, 0, 0
    for i, q in ipairs(requests) do
      local arrival = q.arrival * 1000
      if i > 1 then wait = math.max(0, wait + 20 - (arrival - last)) end
      last, busy = arrival, math.max(busy, wait)
      near(wait + 20, r.per_request.ttft[i], "request " .. i)
    end
    assert.is_true(busy > 100, "the queue was never long")
    near(busy, r.longest_wait_ms, "longest wait")
    assert.are.equal(400, r.steps)
  end)

  it("lets requests join at the next step, and gives each a token a step", function()
    local r = run { requests = { { arrival = 0, prompt = 5, output = 4 },
                                 { arrival = 0.030, prompt = 5, output = 2 } } }
    near(20, r.per_request.ttft[1], "first")
    near(30, r.per_request.ttft[2], "second") -- arrives at 30, joins at 40, is done at 60
    near(80, r.per_request.e2e[1], "end of the first")
    near(50, r.per_request.e2e[2], "end of the second")
    assert.are.same({ 20, 20, 20 }, { r.itl.p50, r.itl.max, r.tpot.max })
    assert.are.equal(4, r.steps)
  end)

  it("takes a prompt in chunks of the budget", function()
    local r = run { requests = { { arrival = 0, prompt = 250, output = 1 } }, max_num_seqs = 8,
                    max_num_batched_tokens = 100 }
    assert.are.same({ 3, 250, 60 }, { r.steps, r.prefill_tokens, r.ttft.max })
  end)

  it("counts every step as one kind of graph", function()
    local r, shares = run { workload = { requests = 20 } }, 0
    for _, kind in pairs(r.padding.kinds) do shares = shares + kind.share end
    near(1, shares, "shares")
  end)

  it("jumps over idle time", function()
    local r = run { requests = { { arrival = 7, prompt = 1, output = 1 },
                                 { arrival = 1e6, prompt = 1, output = 1 } } }
    assert.are.same({ 2, 20 }, { r.steps, r.ttft.max })
    near((1e6 - 7) * 1000 + 20, r.seconds * 1000, "end")
  end)

  it("takes as long as its cost model says", function()
    local r = run { requests = { { arrival = 0, prompt = 100, output = 3 } },
                    cost = { c0 = 10, c_pf = 0.5, c_seq = 1, c_ctx = 0.01 } }
    -- 10 + 50 + 1, then 10 + 1 + context of 100 and of 101 tokens
    near(61, r.ttft.max, "first token")
    near(61 + 12 + 12.01, r.e2e.max, "last token")
  end)

  it("accepts drafts, and stops within a burst", function()
    local r = run { requests = { { arrival = 0, prompt = 9, output = 12 } }, num_speculative_tokens = 3,
                    acceptance = { rates = { 1, 1, 1 } } }
    assert.are.same({ 4, 12, 80 }, { r.steps, r.emitted, r.e2e.max }) -- 1 + 4 + 4 + 3
    assert.are.same({ 3, 20, 3 }, { r.itl.n, r.itl.max, r.speculation.rows })
    assert.are.equal(11, r.itl_token.n)
    r = run { requests = { { arrival = 0, prompt = 9, output = 5 } }, num_speculative_tokens = 3,
              acceptance = { recorded = { { 1, 3 } } } }
    assert.are.same({ 3, 5 }, { r.steps, r.emitted }) -- 1 + 1 + 3
  end)

  local function comparable(r)
    r.wall = nil
    return r
  end

  it("is the same for a seed, another for another", function()
    local function once(seed)
      return comparable(run { workload = { requests = 150, rate = 20 }, users = 3, seed = seed,
                              num_speculative_tokens = 2, acceptance = { mean = 2, spread = 0.3 } })
    end
    assert.are.same(once(4), once(4))
    assert.are_not.same(once(4).e2e, once(5).e2e)
    local function luck(seed)
      return run { requests = { { arrival = 0, prompt = 1, output = 200 } }, seed = seed,
                   num_speculative_tokens = 2 }.speculation
    end
    assert.are_not.same(luck(4), luck(5))
  end)

  it("gives a request the same luck under every policy", function()
    local function once(policy)
      return run { workload = { requests = 150, rate = 40 }, policy = policy, num_speculative_tokens = 2,
                   acceptance = { mean = 2, spread = 0.3 } }
    end
    local a, b = once "fcfs", once "decode_first"
    assert.are.same(a.speculation, b.speculation)
    assert.are_not.same(a.ttft, b.ttft)
  end)

  it("has the percentiles of the sorted list of its requests", function()
    local r = run { workload = { requests = 233, rate = 60 }, cost = { c0 = 10, c_pf = 0.05, c_seq = 0.3 } }
    for _, field in ipairs { "ttft", "e2e", "queue" } do
      local list, sum = {}, 0
      for i, ms in ipairs(r.per_request[field]) do list[i], sum = ms, sum + ms end
      table.sort(list)
      for _, p in ipairs { 50, 90, 95, 99 } do
        near(list[math.ceil(#list * p / 100)], r[field]["p" .. p], field .. " p" .. p)
      end
      near(sum / #list, r[field].mean, field .. " mean")
      near(list[#list], r[field].max, field .. " max")
    end
  end)

  it("is loaded at the rate it is told", function()
    local r = run { workload = { requests = 100, rate = 3, output_max = 20 }, rate = 12 }
    assert.is_true(math.abs(r.setup.rate - 12) < 1e-9)
    assert.is_true(math.abs(r.seconds - 99 / 12) < 10)
  end)

  it("counts who met both targets", function()
    local o = { workload = { requests = 80, rate = 100 }, ttft_ms = 30, tpot_ms = 20 }
    local r, met = run(o), 0
    for i = 1, 80 do
      if r.per_request.ttft[i] <= 30 then met = met + 1 end
    end
    assert.is_true(met > 0 and met < 80)
    assert.are.equal(met / 80, r.attainment)
    near(met / r.seconds, r.goodput, "goodput")
    o.tpot_ms = 19.9
    assert.is_true(run(o).attainment < 0.2) -- only those of one token
  end)

  it("preempts when the attention cache is short, and computes again", function()
    local r = run { workload = { requests = 60, rate = 200, prompt_max = 300, output_median = 900,
                                 output_max = 1500 },
                    kv_tokens = 6000 }
    assert.is_true(r.preemptions > 0)
    assert.is_true(r.recomputed > 0 and r.recompute_tax > 0)
    assert.are.equal(60, r.finished)
  end)

  it("a step ahead wastes a row a stop at most, and hides the host's time", function()
    local o = { workload = { requests = 80, rate = 20 }, cost = { c0 = 10, c_cpu = 8 } }
    local apart = run(o)
    o.async = true
    local ahead = run(o)
    assert.are.equal(apart.emitted, ahead.emitted)
    assert.is_true(ahead.wasted_rows > 0 and ahead.wasted_rows <= 80)
    assert.are.same({ 18, 10 }, { apart.itl.p50, ahead.itl.p50 })
  end)

  it("turns away whom the policy turns away", function()
    local n = 0
    local r = run { workload = { requests = 20 }, policy = { name = "every second", admit = function()
      n = n + 1
      if n % 2 == 0 then return nil, "even" end
      return true
    end } }
    assert.are.same({ 10, 10, 0.5 }, { r.finished, r.rejected, r.attainment })
  end)

  it("comes to an end under a policy that only turns away, or preempts every request", function()
    local function served(step)
      local r = run { workload = { requests = 20, rate = 1000 }, policy = step, measure = true }
      assert.are.equal(20, r.finished + r.rejected)
      return r
    end
    local r = served(function(view, plan) for i in view:waiting() do plan:reject(i, "no") end end)
    assert.are.same({ 0, 20, 0 }, { r.finished, r.rejected, r.steps })
    r = served(function(view, plan)
      if view.step % 2 == 1 then return plan:fill() end
      for i in view:waiting() do plan:reject(i, "every other step") end
    end)
    assert.is_true(r.finished > 0 and r.rejected > 0)
    r = served(function(view, plan)
      if view.step % 40 ~= 39 then return plan:fill() end
      for i in view:running() do plan:preempt(i) end
    end)
    assert.is_true(r.preemptions > 0 and r.finished == 20)
  end)

  it("says how long those waited who were turned away", function()
    local requests = { { arrival = 0, prompt = 5, output = 20 }, { arrival = 0.1, prompt = 5, output = 2 } }
    local r = run { requests = requests, policy = function(view, plan)
      for i in view:waiting() do
        if view:request(i).age >= 0.15 then plan:reject(i, "late") end
      end
      for i in view:running() do plan:take(i) end
      if view.running == 0 then plan:fill() end
    end }
    assert.are.equal(1, r.rejected)
    near(160, r.longest_wait_ms, "longest wait")
    assert.are.equal("request 2: late", r.rejection)
  end)

  it("refuses an acceptance model where nothing is drafted", function()
    raises("sim.run: acceptance wants num_speculative_tokens (--drafts) above 0",
           function() sim.run { workload = { requests = 1 }, acceptance = { mean = 2 } } end)
  end)

  it("turns away what is longer than a sequence may be", function()
    local r = run { requests = { { arrival = 0, prompt = 50, output = 9 },
                                 { arrival = 0, prompt = 100, output = 1 } }, max_model_len = 60 }
    assert.are.same({ 1, 1, 9 }, { r.finished, r.rejected, r.emitted })
    assert.are.equal("request 2: prompt_tokens = 100, want at most 59 (max_model_len - 1)", r.rejection)
  end)

  it("comes to an end under a policy that runs no request, and says so", function()
    local asked = 0
    local function admit(q)
      if q.id == 1 then asked = asked + 1 end
      return false
    end
    local r, message = sim.run { workload = { requests = 3, rate = 1e6 }, trusted = true,
                                 policy = { name = "idler", admit = admit } }
    assert.are.equal(1e5 + 2, asked) -- the last arrival is the third
    assert.is_nil(r)
    assert.are.equal("policy idler holds 3 requests, and nothing else runs or arrives", message)
  end)

  -- Asked again every 10 ms, 100,000 times: from the start again once another request has come or run.
  -- { arrivals in seconds, how long the policy holds each, how many end }
  for _, case in ipairs { { { 0 }, { 999.9 }, 1 }, { { 0 }, { 1000.5 }, 0 }, { { 0, 900 }, { 1700, 800 }, 2 },
                          { { 0, 0 }, { 1700, 900 }, 2 }, { { 0, 900 }, { 1950, 1050 }, 0 } } do
    it(("waits 1,000 s for a policy that runs no request: %s"):format(table.concat(case[2], " ")), function()
      local requests = {}
      for n, arrival in ipairs(case[1]) do requests[n] = { arrival = arrival, prompt = 5, output = 2 } end
      local r, message = sim.run { preset = "constant-20ms", requests = requests, policy = {
        name = "late", admit = function(q) return q.age >= case[2][q.id] end } }
      assert.are.equal(case[3], r and r.finished or 0)
      local why = ("policy late holds %d requests, and nothing else runs or arrives"):format(#requests)
      if not r then assert.are.equal(why, message) end
    end)
  end

  it("goes on where a policy holds every request for a while", function()
    local r = run { workload = { requests = 20 },
                    policy = { name = "late", admit = function(q) return q.age > 0.5 end } }
    assert.are.equal(20, r.finished)
    for i = 1, 20 do assert.is_true(r.per_request.queue[i] > 500 and r.per_request.queue[i] < 700) end
  end)

  it("ends where requests wait that no policy holds, also where others are to arrive", function()
    local admissions = require "gdnmeta.engine.decide.admissions"
    local refused = stub(admissions, "admit", function() return true end)
    local requests = { { arrival = 0, prompt = 5, output = 2 }, { arrival = 1000, prompt = 5, output = 2 } }
    local ok, message = pcall(sim.run, { preset = "constant-20ms", requests = requests })
    refused:revert()
    assert.is_false(ok)
    assert.equal("nothing runs, and 1 requests wait", message)
  end)
end)
