-- What the six shipped policies do, against closed forms where there are any.
local serve = require "spec.support.run_engine"

local request = serve.short_request

describe("fcfs", function()
  it("serves one queue of constant service in closed form", function()
    local requests, finish = {}, 0
    for id = 1, 20 do requests[id] = request(id, { arrival = id * 0.5, max_tokens = 3 }) end
    local _, seen = serve.one_by_one("fcfs", requests)
    for id = 1, 20 do
      finish = finish + 3
      assert.are.equal(finish, seen.finished[id])
    end
  end)
end)

describe("priority", function()
  it("takes the smallest number first, then by arrival", function()
    local order = serve.one_by_one("priority", { request("a", { priority = 2 }),
                                           request("b", { priority = 1, arrival = 1 }),
                                           request("c", { priority = 1 }),
                                             request("d", { priority = 0, arrival = 3 }) })
    assert.are.same({ "d", "c", "b", "a" }, order)
  end)

  it("evicts the least important request", function()
    local engine = serve.engine("priority", { kv_tokens = 64, kv_block_size = 16 })
    engine:submit(request("low", { priority = 9, prompt_tokens = 16, max_tokens = 30 }))
    engine:complete(engine:step(0), 0)
    engine:submit(request("high", { priority = 1, prompt_tokens = 16, max_tokens = 30, arrival = 1 }))
    local evicted = {}
    for now = 1, 20 do
      local step = engine:step(now)
      for _, id in ipairs(step.preempted) do evicted[#evicted + 1] = id end
      engine:complete(step, now)
    end
    assert.are.same({ "low" }, evicted)
    engine:close()
  end)
end)

describe("shortest_prefill", function()
  it("takes the shortest prompt first", function()
    local order = serve.one_by_one("shortest_prefill", { request("long", { prompt_tokens = 60 }),
                                                   request("short", { prompt_tokens = 5 }),
                                                   request("middle", { prompt_tokens = 30 }) })
    assert.are.same({ "short", "middle", "long" }, order)
  end)

  it("keeps most of what going by length gains, with the aging that it has by default", function()
    local function first_token(policy, aging)
      return require("gdnmeta.sim").run({ policy = policy, aging = aging, measure = false, rate = 10,
                                          workload = { requests = 500, prompt_sigma = 1.5 } }).ttft.mean
    end
    local fcfs, unaged, default = first_token "fcfs", first_token("shortest_prefill", 0),
      first_token "shortest_prefill"
    assert.is_true(fcfs > 3 * unaged, ("%g, %g"):format(fcfs, unaged))
    assert.is_true(fcfs - default > 0.9 * (fcfs - unaged), ("%g, %g, %g"):format(fcfs, unaged, default))
  end)

  it("lets no request starve: waiting makes a prompt shorter", function()
    local aging = 2 -- tokens a second: 60 tokens are worth 25 s of waiting against prompts of 10
    local engine = serve.engine("shortest_prefill", { aging = aging }, { max_num_seqs = 1 })
    engine:submit(request("long", { prompt_tokens = 60, max_tokens = 1 }))
    local seen = serve.run(engine, function(now)
      if now < 60 then engine:submit(request(now, { arrival = now, max_tokens = 1 })) end
    end)
    local due = (60 - 10) / aging
    assert.is_true(seen.admitted.long >= due and seen.admitted.long <= due + 2, "admitted at "
                   .. seen.admitted.long)
    engine:close()
  end)

  it("would let a long prompt starve without ageing", function()
    local engine = serve.engine("shortest_prefill", { aging = 0 }, { max_num_seqs = 1 })
    engine:submit(request("long", { prompt_tokens = 60, max_tokens = 1 }))
    local seen = serve.run(engine, function(now)
      if now < 60 then engine:submit(request(now, { arrival = now, max_tokens = 1 })) end
    end)
    assert.is_true(seen.admitted.long >= 60)
    engine:close()
  end)
end)

describe("fair", function()
  -- Service by user (prompt 1, output 2 per token) while every user always has something waiting.
  local function served(users, steps, late)
    local engine = serve.engine("fair", nil, { max_num_seqs = 2 })
    local next_id, user_of = 0, {}
    local function top_up(name)
      local user = users[name]
      next_id = next_id + 1
      user_of[next_id] = name
      engine:submit { id = next_id, prompt_tokens = user.prompt, max_tokens = user.output, user = name,
                      weight = user.weight, arrival = next_id }
    end
    local total, names = {}, {}
    for name in pairs(users) do names[#names + 1] = name end
    table.sort(names)
    for now = 0, steps do
      for _, name in ipairs(names) do
        if now == 0 and name ~= late then for _ = 1, 4 do top_up(name) end end
        if name == late and now == steps / 2 then for _ = 1, 4 do top_up(name) end end
      end
      local step = engine:step(now)
      for _, id in ipairs(step.admitted) do
        local name = user_of[id]
        total[name] = (total[name] or 0) + users[name].prompt
        top_up(name)
      end
      engine:complete(step, now)
      for row = 0, step.num_rows - 1 do
        local name = user_of[step:id(row)]
        total[name] = total[name] + 2 * step.emitted[row]
      end
    end
    assert.are.equal(0, #engine:failures())
    engine:close()
    return total
  end

  it("serves users alike to within one request, however many each of them sends", function()
    local users = { ada = { prompt = 20, output = 4, weight = 1 },
                    bob = { prompt = 7, output = 9, weight = 1 } }
    local total = served(users, 1000)
    local largest = math.max(20 + 2 * 4, 7 + 2 * 9)
    assert.is_true(math.abs(total.ada - total.bob) <= largest,
                   ("ada %d, bob %d"):format(total.ada, total.bob))
    assert.is_true(total.ada > 1000)
  end)

  it("serves by weight", function()
    local users = { ada = { prompt = 10, output = 5, weight = 3 },
                    bob = { prompt = 10, output = 5, weight = 1 } }
    local total = served(users, 1000)
    assert.is_true(math.abs(total.ada / 3 - total.bob) <= 20, ("ada %d, bob %d"):format(total.ada, total.bob))
  end)

  it("gives no credit for a pause", function()
    local users = { ada = { prompt = 10, output = 5, weight = 1 },
                    bob = { prompt = 10, output = 5, weight = 1 } }
    local total = served(users, 1000, "bob")
    assert.is_true(total.bob >= total.ada / 3 - 40 and total.bob <= total.ada / 3 + 40,
                   ("ada %d, bob %d"):format(total.ada, total.bob))
  end)

  it("is first come, first served within a user", function()
    local requests = {}
    for id = 1, 9 do requests[id] = request(id, { user = id % 2 == 0 and "even" or "odd", arrival = id }) end
    local order = serve.one_by_one("fair", requests)
    local last = { [0] = 0, [1] = 0 }
    for _, id in ipairs(order) do
      assert.is_true(id > last[id % 2])
      last[id % 2] = id
    end
    assert.are.equal(9, #order)
  end)
end)

describe("deadline", function()
  it("takes the earliest deadline first", function()
    local order = serve.one_by_one("deadline", { request("slow", { ttft = 100 }),
                                           request("fast", { ttft = 1, arrival = 5 }),
                                           request("named", { deadline = 2 }) })
    assert.are.same({ "named", "fast", "slow" }, order)
  end)

  it("lets the decode go on whose next token is due first, and lets the other make room", function()
    local key = require "gdnmeta.policy.deadline".key
    local late, soon = { is_decode = true, last_emit = 5, tpot = 0.1, deadline = 9 },
                       { is_decode = true, last_emit = 4, tpot = 3, deadline = 1 }
    assert.are.same({ 5.1, 7 }, { key(late), key(soon) })
    late.is_decode = false
    assert.are.equal(9, key(late))
  end)

  it("gives a prompt what fits before the first running decode is late", function()
    local cost = { tokens_within = function(seconds) return seconds * 100 end }
    local engine = serve.engine("deadline", { cost = cost, tpot = 2 }, { max_num_batched_tokens = 1024 })
    engine:submit(request("chat", { prompt_tokens = 3, max_tokens = 50 }))
    engine:complete(engine:step(0), 0.5)
    engine:submit(request("essay", { prompt_tokens = 900 }))
    local step = engine:step(1) -- the next token of chat is due at 0.5 + 2
    assert.are.same({ 1, 150 }, { step.query_len[0], step.query_len[1] })
    engine:close()
  end)
end)

describe("decode_first", function()
  it("never holds up a decode for a prompt, and keeps prompts to 512 tokens per step", function()
    local engine = serve.engine("decode_first", nil, { max_num_batched_tokens = 8192 })
    engine:submit(request("chat", { prompt_tokens = 3, max_tokens = 20 }))
    engine:complete(engine:step(0), 0)
    for id = 1, 3 do engine:submit(request(id, { prompt_tokens = 2000 })) end
    for now = 1, 10 do
      local step = engine:step(now)
      assert.are.equal("chat", step:id(0))
      assert.are.equal(512, step.prefill_tokens)
      engine:complete(step, now)
    end
    engine:close()
  end)

  it("takes a whole block where states are kept by the block", function()
    local engine = serve.engine("decode_first", { max_model_len = 8000 }, {
      max_num_batched_tokens = 2048, mamba_cache_mode = "align", mamba_block_size = 600,
        max_blocks_per_row = 16,
      num_slots = 30 })
    engine:submit(request("a", { prompt_tokens = 5000 }))
    local step = engine:step(0)
    assert.is_false(step.fallback)
    assert.are.equal(600, step.num_tokens)
    engine:close()
  end)
end)
