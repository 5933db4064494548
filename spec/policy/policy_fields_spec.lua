-- Policies of names and numbers, of whole steps, and the queue that keys order.
local serve = require "spec.support.run_engine"

local request = serve.short_request

describe("A level 0 policy", function()
  it("takes its order, chunk, drafts and victim from names and numbers", function()
    local engine = serve.engine({ order = "shortest_prefill", chunk = 4, drafts = 1,
                                  victim = "least_computed" }, nil,
                                { num_speculative_tokens = 3 })
    engine:submit(request("long", { prompt_tokens = 60 }))
    engine:submit(request("short", { prompt_tokens = 5, max_tokens = 9 }))
    local step = engine:step(0)
    assert.are.same({ "short", "long" }, step.admitted)
    assert.are.same({ 4, 4 }, { step.query_len[0], step.query_len[1] })
    engine:complete(step, 0)
    engine:complete(engine:step(1), 1)
    step = engine:step(2)
    assert.are.equal("short", step:id(0))
    assert.are.same({ 2, 1 }, { step.query_len[0], step.drafts[0] })
    engine:close()
  end)

  it("evicts by what was computed", function()
    for kind, loser in pairs { least_computed = "b", most_computed = "a", last = "c" } do
      local engine = serve.engine({ victim = kind }, { kv_tokens = 96, kv_block_size = 16, kv_headroom = 0 },
                                  { max_num_batched_tokens = 128 })
      for _, id in ipairs { "a", "b", "c" } do
        local prompt = ({ a = 32, b = 16, c = 24 })[id]
        engine:submit(request(id, { prompt_tokens = prompt, max_tokens = 40, arrival = id:byte() }))
      end
      local evicted
      for now = 1, 12 do
        local step = engine:step(now)
        evicted = evicted or step.preempted[1]
        engine:complete(step, now)
      end
      assert.are.equal(loser, evicted, kind)
      engine:close()
    end
  end)
end)

describe("plan:take", function()
  it("gives a decode its drafts, or as many as told, never more than were proposed", function()
    local engine = serve.engine("fcfs", nil, { num_speculative_tokens = 3 })
    engine:submit(request("a", { prompt_tokens = 5, max_tokens = 90 }))
    engine:complete(engine:step(0), 0)
    local function taken(n, drafts)
      local granted, nothing, why
      assert(engine:set_policy(function(view, plan)
        for i in view:running() do
          assert.are.equal(4, view:request(i).want) -- a token and three drafts
          nothing, why = plan:take(i, 0)
          granted = plan:take(i, n, drafts)
        end
      end))
      local step = assert(engine:step(1))
      assert.are.same({ granted, "budget", 0 }, { step.num_tokens, why, engine.stats.fallbacks })
      assert.is_nil(nothing)
      engine:complete(step, 1)
      return granted
    end
    assert.are.same({ 4, 2, 1, 4 }, { taken(), taken(2), taken(1), taken(9) })
    assert.are.same({ 3, 1, 2, 4 }, { taken(nil, 2), taken(nil, 0), taken(9, 1), taken(nil, 9) })
    engine:close()
  end)
end)

describe("plan:take of a decode", function()
  it("says that the attention cache is full", function()
    local engine, said = serve.engine("fcfs", { kv_tokens = 32, kv_block_size = 16, kv_headroom = 0 }), {}
    for _, id in ipairs { "a", "b" } do engine:submit(request(id, { prompt_tokens = 16, max_tokens = 4 })) end
    engine:complete(engine:step(0), 0) -- a block of 16 each
    assert(engine:set_policy(function(view, plan)
      for i in view:running() do said[#said + 1] = { plan:take(i) } end
      plan:fill()
    end))
    engine:complete(engine:step(1), 1)
    assert.are.same({ {}, "kv" }, { { said[1][1] }, said[1][2] })
    engine:close()
  end)
end)

describe("A level 2 policy", function()
  it("takes, admits, skips, preempts and rejects, and hears why not", function()
    local log = {}
    local function note(...) log[#log + 1] = table.concat({ ... }, " ") end
    local function answer(granted, why) return granted and tostring(granted) or "nil " .. why end
    local engine = serve.engine(function(view, plan)
      local waiting = {}
      for i in view:waiting() do waiting[view:request(i).id] = i end
      note("admit a", answer(plan:admit(waiting.a)))
      note("again", answer(plan:admit(waiting.a)))
      note("take b", answer(plan:take(waiting.b)))
      note("admit b 20", answer(plan:admit(waiting.b, 20)))
      note("reject c", answer(plan:reject(waiting.c, "too late")))
      note("admit d", answer(plan:admit(waiting.d)))
      note("admit e", answer(plan:admit(waiting.e)))
      note("left", tostring((plan:left())))
    end)
    for _, id in ipairs { "a", "b", "c", "d", "e" } do engine:submit(request(id, { prompt_tokens = 30 })) end
    local step = engine:step(1)
    assert.are.equal(0, #engine:failures(), engine:failures()[1] and engine:failures()[1].message)
    assert.are.same({ "admit a 30", "again nil taken", "take b nil waiting", "admit b 20 20", "reject c 0",
                      "admit d 14", "admit e nil budget", "left 0" }, log)
    assert.are.same({ "a", "b", "d" }, step.admitted)
    assert.are.same({ "c" }, step.rejected)
    assert.are.equal("too late", step.reasons.c)
    engine:complete(step, 1)

    assert(engine:set_policy(function(view, plan)
      local skipped = true
      for i in view:running() do
        if skipped then plan:skip(i) else plan:preempt(i) end
        skipped = false
      end
      plan:fill()
    end))
    step = engine:step(2)
    assert.are.same({ "b", "d" }, step.preempted)
    assert.are.equal(0, step.num_rows)
    assert.is_false(step.fallback)
    assert.are.equal("running", engine:request("a").state)
    engine:close()
  end)

  it("gets the built-in policy's choice from fill", function()
    local function rows(policy)
      local engine = serve.engine(policy)
      for id = 1, 5 do engine:submit(request(id, { prompt_tokens = 20 })) end
      local step, list = engine:step(1), {}
      for row = 0, step.num_rows - 1 do list[row + 1] = { step:id(row), step.query_len[row] } end
      engine:close()
      return list
    end
    assert.are.same(rows "fcfs", rows(function(_, plan) plan:fill() end))
  end)
end)

describe("The queue", function()
  local function first_admitted(engine, now)
    local step = engine:step(now)
    engine:complete(step, now)
    return step.admitted
  end

  it("does not send a request first for a key that was good long ago", function()
    local keys = {}
    local engine = serve.engine({ key = function(r) return keys[r.id] end }, { rekey_limit = 2 },
                                { max_num_seqs = 1 })
    for id = 1, 10 do
      keys[id] = id == 9 and -5 or id
      engine:submit(request(id, { max_tokens = 1 }))
    end
    keys[9] = 1000
    assert.are.same({ 1 }, first_admitted(engine, 0))
    engine:close()
  end)

  it("goes on with the next one when the one whose turn it was has left", function()
    local asked = {}
    local engine = serve.engine({ key = function(r)
      asked[#asked + 1] = r.id
      return r.arrival
    end, admit = function(r) return r.id == 0 end }, { rekey_limit = 2 })
    for id = 0, 6 do engine:submit(request(id, { arrival = id, max_tokens = 20 })) end
    assert.are.same({ 0 }, first_admitted(engine, 0)) -- keys of 0 and 1 again, then it is 2's turn
    assert(engine:cancel(2))
    asked = {}
    engine:complete(engine:step(1), 1)
    assert.are.same({ 3, 4 }, { asked[1], asked[2] })
    engine:close()
  end)

  it("brings back requests that are held", function()
    for _, kind in ipairs { {}, { static = true }, { group = "user" } } do
      local engine = serve.engine { static = kind.static, group = kind.group,
                                    key = function(r) return r.arrival end,
                                    admit = function(r, ctx) return r.id <= ctx.step end }
      for id = 1, 4 do engine:submit(request(id, { arrival = id, user = id % 2, max_tokens = 20 })) end
      for id = 1, 4 do assert.are.same({ id }, first_admitted(engine, id)) end
      assert.are.equal(0, engine.stats.fallbacks)
      engine:close()
    end
  end)

  it("lets a policy hold 129 requests a step, no more", function()
    local calls = 0
    local engine = serve.engine { key = function() return 0 end, static = true, admit = function(r)
      if r.id == 0 then return true end
      calls = calls + 1
      return false
    end }
    for id = 0, 500 do engine:submit(request(id, { max_tokens = 9 })) end
    assert.are.same({ 0 }, first_admitted(engine, 0))
    assert.is_true(calls <= 129, calls .. " calls")
    engine:close()
  end)

  it("charges a user for each admission before the next one, within a step", function()
    local engine = serve.engine("fair", nil, { max_num_seqs = 6, max_num_batched_tokens = 256 })
    for n = 1, 3 do
      engine:submit(request("a" .. n, { user = "ada", prompt_tokens = 10, arrival = n }))
      engine:submit(request("b" .. n, { user = "bob", prompt_tokens = 4, arrival = n + 0.5 }))
    end
    assert.are.same({ "a1", "b1", "b2", "b3", "a2", "a3" }, first_admitted(engine, 0))
    engine:close()
  end)
end)

describe("A level 1 policy that takes over", function()
  it("orders the prompts under way by its own static key", function()
    local engine = serve.engine { chunk = 8 }
    engine:submit(request("later", { prompt_tokens = 100, priority = 5 }))
    engine:submit(request("sooner", { prompt_tokens = 100, priority = 1 }))
    engine:complete(engine:step(0), 0)
    assert(engine:set_policy { static = true, key = function(r) return r.priority end })
    local step = engine:step(1)
    assert.are.same({ 1, "sooner", 64 }, { step.num_rows, step:id(0), step.query_len[0] })
    engine:close()
  end)
end)
