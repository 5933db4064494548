-- engine:states_lost(): the device dies at any moment, and every request still says what it says without.
local gdn = require "gdnmeta"
local play = require "spec.support.random_traffic"
local serve = require "spec.support.run_engine"

local CASES = math.ceil((tonumber(os.getenv "GDN_CASES") or 2000) / 100)
local SHIPPED = { "fcfs", "decode_first", "priority", "shortest_prefill", "fair", "deadline" }

-- Plays a configuration with and without losses: the same tokens for every request that is not cancelled.
local function same_tokens(change)
  local seed, losses = tonumber(os.getenv "GDN_SEED") or os.time() % 2 ^ 24, 0
  for case = seed, seed + CASES - 1 do
    math.randomseed(case)
    local where, c = ("GDN_SEED=%d"):format(case), play.configuration()
    if change then change(c) end
    local policy, requests, done = SHIPPED[math.random(#SHIPPED)], play.requests(c, math.random(1, 30)), {}
    for _, lose in ipairs { 0, 0.05 } do
      local engine = play.engine(c, policy)
      local books = play.run(c, { engine = engine, where = where, requests = requests, lose = lose,
                                  forks = c.forks })
      local failure = engine:failures()[1]
      assert(not failure, failure and where .. ": " .. failure.message)
      losses = losses + books.branches.losses
      for id, q in pairs(books.done) do
        assert(not done[id] or done[id] == q.emitted or id > 1000, where .. " request " .. id)
        done[id] = q.emitted
      end
      engine:close()
    end
  end
  assert(losses > CASES / 4, losses .. " losses")
end

describe("A device that dies", function()
  it("costs no request, slot or block", function() same_tokens() end)

  it("costs none with two steps in flight", function()
    same_tokens(function(c) c.async = true end)
  end)

  it("costs none with a state cache", function()
    same_tokens(function(c)
      c.hash_block = c.align and c.block or math.random(2, 9)
      if c.owns_blocks then
        c.kv_block = c.hash_block
        c.kv_tokens = math.max(c.kv_tokens, c.max_model_len + c.kv_block)
      end
      c.num_slots = c.num_slots + 4
    end)
  end)

  it("costs none with forks and exports", function()
    same_tokens(function(c)
      c.forks, c.num_slots = 0.1, c.num_slots + 8
      c.async = false
    end)
  end)

  it("takes the states with it that the host keeps, and leaves their slots to it", function()
    local e = serve.engine("fcfs", { max_model_len = 200, kv_blocks = 60, kv_block_size = 4 },
                           { max_blocks_per_row = 2, num_slots = 12 })
    assert(e:submit(serve.request("a", { prompt_tokens = 9, max_tokens = 5 })))
    assert(e:complete(assert(e:step(1)), 1))
    local state, place = assert(e:export "a"), assert(e:receive(5))
    assert(e:submit(serve.request("b", { prompt_tokens = 10, max_tokens = 5, slot = state })))
    local step = e:step(2)
    assert.are.equal(2, e:states_lost())
    assert.has_error(function() e:complete(step, 2) end)
    for _, gone in ipairs { state, place } do
      assert.are.same({ nil, "request c: slot: want what receive() or export() of this engine gave",
                        gdn.EINVAL }, { e:submit(serve.request("c", { prompt_tokens = 20, slot = gone })) })
    end
    assert.are.same({ 2, 5 }, { e:slots().used, e:kv().used })
    e:release(state)
    e:release(place)
    assert.are.same({ 0, 0, 2, 0 }, { e:slots().used, e:kv().used, e.stats.waiting, e.stats.running })
    step = e:step(3)
    assert.are.same({ 2, 10, 10 }, { step.num_rows, step.query_len[0], step.query_len[1] })
    e:complete(step, 3)
    local seen = serve.run(e)
    assert.is_truthy(seen.finished.a and seen.finished.b)
    assert.are.equal(10, e.stats.emitted)
    e:close()
  end)

  it("changes nothing in an engine without requests, and policies hear of those that ran", function()
    local heard = {}
    local e = serve.engine { on_preempt = function(r) heard[#heard + 1] = r.id end }
    assert.are.equal(0, e:states_lost())
    for id = 1, 3 do assert(e:submit(serve.request(id, { prompt_tokens = 3, max_tokens = 5 }))) end
    e:complete(assert(e:step(1)), 1)
    assert.are.equal(3, e:states_lost())
    assert.are.same({ 1, 2, 3 }, heard)
    local step = e:step(2)
    assert.are.same({ 1, 2, 3 }, { step:id(0), step:id(1), step:id(2) }) -- in their order
    e:close()
  end)
end)
