-- The state cache of an engine: what is found, what is refused, and that it never stands in the way.
local ffi = require "ffi"
local serve = require "spec.support.run_engine"

local EINVAL = -1
local request, engine = serve.request, serve.caching_engine

local function ids(from, n)
  local list = {}
  for k = 1, n do list[k] = from + k end
  return list
end

local function tokens_computed(e, given)
  local before = e.stats.scheduled
  assert(e:submit(given))
  serve.run(e)
  return e.stats.scheduled - before
end

describe("A state cache", function()
  it("computes what is new of a prompt, at least its last token", function()
    local e = engine()
    local function prompt(id, n, blocks)
      return request(id, { prompt_tokens = n, max_tokens = 1, blocks = blocks })
    end
    assert.are.equal(18, tokens_computed(e, prompt(1, 18, ids(0, 4))))
    assert.are.equal(2, tokens_computed(e, prompt(2, 18, ids(0, 4))))
    assert.are.equal(6, tokens_computed(e, prompt(3, 22, ids(0, 5)))) -- and leaves a state at 20
    assert.are.equal(4, tokens_computed(e, prompt(4, 20, ids(0, 5)))) -- not the state at 20: a token is left
    assert.are.equal(18, tokens_computed(e, prompt(5, 18, ids(100, 4))))
    -- The first that parts from known prompts finds no state, and leaves one there for the next.
    assert.are.equal(18, tokens_computed(e, prompt(6, 18, { 1, 2, 201, 202 })))
    assert.are.equal(10, tokens_computed(e, prompt(7, 18, { 1, 2, 301, 302 })))
    assert.are.same({ 4, 16 + 16 + 16 + 8 }, { e.stats.hits, e.stats.cached_tokens })
    e:close()
  end)

  it("tells tenants apart by their salt, and takes tokens for ids", function()
    local e = engine()
    local text = ids(1000, 18)
    local function prompt(id, salt)
      return request(id, { prompt_tokens = 18, max_tokens = 1, tokens = text, salt = salt })
    end
    assert.are.equal(18, tokens_computed(e, prompt(1, "a")))
    assert.are.equal(18, tokens_computed(e, prompt(2, "b")))
    assert.are.equal(2, tokens_computed(e, prompt(3, "a")))
    e:close()
  end)

  it("refuses a salt without tokens or blocks, and counts requests without either", function()
    local e, plain = engine(), serve.engine "fcfs"
    for _, salted in ipairs { e, plain } do
      assert.are.same({ nil, "request 1: salt wants blocks or tokens", EINVAL },
                      { salted:submit(request(1, { salt = "tenant" })) })
    end
    assert(e:submit(request(1, { session = "chat" })))
    assert(e:submit(request(2, {})))
    assert(e:submit(request(3, { tokens = ids(0, 10), session = "chat", salt = "tenant" })))
    assert(plain:submit(request(1, { session = "chat" })))
    assert.are.same({ 2, 0 }, { e.cache:stats().without_identity, e.cache:stats().untold_text })
    assert.matches("\n  2 requests without blocks or tokens, 0 answers of untold tokens", tostring(e.cache))
    e:close()
    plain:close()
  end)

  it("refuses a salt that is none, with tokens and with blocks", function()
    local e = engine()
    for _, salt in ipairs { -1, 0.5, 2 ^ 53, math.huge } do
      for name, given in pairs { tokens = ids(0, 18), blocks = ids(0, 4) } do
        local want = ("request 1: salt = %.14g, want an integer in 0 .. 2^53 - 1 or a string"):format(salt)
        assert.are.same({ nil, want, EINVAL },
                        { e:submit(request(1, { prompt_tokens = 18, [name] = given, salt = salt })) })
      end
    end
    assert.has_error(function() e:submit(request(1, { tokens = ffi.cast("int32_t *", 0) })) end,
                     "gdnmeta.Engine:submit: tokens = cdata int *, want a list or an array of tokens")
    e:close()
  end)

  it("leaves free what running requests may grow by, and the watermark beside it", function()
    local e = engine({ kv_blocks = 30, kv_block_size = 4, kv_watermark = 0.2 }) -- six blocks
    for n = 1, 8 do tokens_computed(e, request(n, { prompt_tokens = 18, blocks = ids(10 * n, 4) })) end
    assert(e:submit(request("a", { prompt_tokens = 18, max_tokens = 60, blocks = ids(0, 4) })))
    local p, least = e.private, math.huge
    for now = 1, 40 do
      e:complete(assert(e:step(now)), now)
      p.prefix:evict_for_running()
      least = math.min(least, p.states.free_kv)
    end
    assert.are.same({ 6, 8 }, { p.plan.watermark, least }) -- one that is promised, and one to grow by
    e:close()
  end)

  it("is begun with only where one request alone has slots beside it", function()
    local function prompt(id)
      return request(id, { prompt_tokens = 18, max_tokens = 1, blocks = ids(0, 4) })
    end
    -- Slots, one of which no request has; how many are kept; tokens of the next step.
    for _, case in ipairs { { 2, 0, 16 }, { 3, 0, 2 }, { 3, 1, 16 }, { 4, 1, 2 }, { 4, 2, 16 } } do
      local e = engine(nil, { num_slots = case[1] })
      tokens_computed(e, prompt(1))
      for _ = 1, case[2] do assert(e:receive(16)) end
      assert(e:submit(prompt(2)))
      e.private.prefix:match_waiting()
      local held = e.private.requests.hit_node[e.private.requests.index[2]]
      assert.are.equal(case[3] == 2, held > 0, case[1])
      assert.are.equal(case[3], assert(e:step(9)).query_len[0])
      e:close()
    end
  end)

  it("gives way where requests need its slots and blocks", function()
    local e = engine({ kv_blocks = 30, kv_block_size = 4, kv_headroom = 64 }, { num_slots = 7 })
    for id = 1, 30 do
      assert(e:submit(request(id, { prompt_tokens = 40, max_tokens = 8, blocks = ids(id * 100, 10) })))
    end
    local seen = serve.run(e)
    for id = 1, 30 do assert.is_truthy(seen.finished[id]) end
    assert.are.equal(0, e.stats.preemptions)
    e:close()
  end)

  it("resumes a preempted request from the state that it left", function()
    local e = engine({ kv_blocks = 20, kv_block_size = 4 })
    assert(e:submit(request(1, { prompt_tokens = 21, max_tokens = 30, blocks = ids(0, 5) })))
    assert(e:submit(request(2, { prompt_tokens = 21, max_tokens = 30, blocks = ids(100, 5) })))
    serve.run(e)
    assert.is_true(e.stats.preemptions > 0)
    assert.is_true(e.stats.hits > 0)
    e:close()
  end)

  it("refuses ids that do not fit, and engines that cannot have it", function()
    local e = engine()
    local function refusal(fields)
      fields.prompt_tokens = 18
      return { e:submit(request("a", fields)) }
    end
    assert.are.same({ nil, "request a: blocks has 3 elements, want 4, one for each full block of 4 tokens",
                      EINVAL }, refusal { blocks = ids(0, 3) })
    assert.are.same({ nil, "request a: blocks has 5 elements, want at most 4", EINVAL },
                    refusal { blocks = ids(0, 5) })
    assert.are.same({ nil, "request a: blocks[2] = -1, want an integer in 0 .. 2^53 - 1 or a string",
                      EINVAL }, refusal { blocks = { 1, -1, 2, 3 } })
    assert.are.same({ nil, "request a: blocks and tokens, want one of them", EINVAL },
                    refusal { blocks = ids(0, 4), tokens = ids(0, 18) })
    for _, n in ipairs { 8, 17, 19 } do -- the last two have as many full blocks
      local message = ("request a: tokens has %d elements, want prompt_tokens = 18"):format(n)
      assert.are.same({ nil, message, EINVAL }, refusal { tokens = ids(0, n) })
    end
    e:close()
    e = serve.engine "fcfs"
    assert.are.same({ nil, "request a: blocks and tokens want the engine's option hash_block_size", EINVAL },
                    { e:submit(request("a", { blocks = {} })) })
    e:close()
    assert.has_error(function() engine(nil, { max_blocks_per_row = 1 }) end,
                     "gdnmeta.engine: hash_block_size wants a free column of the state tables: "
                     .. "max_blocks_per_row = 1, want at least 2")
    assert.has_error(function() engine { kv_blocks = 40, kv_block_size = 3 } end,
                     "gdnmeta.engine: hash_block_size = 4, want a multiple of kv_block_size = 3")
  end)

  it("does what its hooks say, and goes on where they fail", function()
    local function play(cache)
      local e = engine { cache = cache, policy_budget = 1e5 }
      for id = 1, 60 do
        local blocks = ids(id * id % 11 * 100, 12) -- some come back soon
        for k = 4, 12 do blocks[k] = blocks[k] + id % 3 * 1e5 end
        assert(e:submit(request(id, { prompt_tokens = 50, max_tokens = 2, blocks = blocks })))
        if id % 4 == 0 then
          for now = id, id + 40 do e:complete(assert(e:step(now)), now) end
        end
      end
      assert.are.equal(60, e.stats.finished)
      local failures, hits = e:failures(), e.stats.hits
      e:close()
      return hits, failures[1], failures[1] and #failures
    end
    for _, name in ipairs { "gdsf", "marconi", "fifo", "turns_by_tokens" } do
      local hits, failure = play(name)
      assert.is_nil(failure, failure and failure.message)
      assert.is_true(hits > 0, name)
    end
    assert.are.equal(0, (play { keep = function() return false end }))
    assert.are.equal(0, (play { checkpoints = function() return {} end }))
    local built_in = play(nil)
    assert.is_true(built_in > 0)
    for _, hook in ipairs { "checkpoints", "keep", "worth" } do
      for _, wrong in ipairs { function() error "boom" end, function() while true do end end,
                               function(_, _, values) if hook == "worth" then values[1] = 0 / 0 end end } do
        local hits, failure = play { [hook] = wrong }
        assert.are.equal(hook, failure.hook)
        assert.are.equal("cache anonymous", failure.policy)
        assert.is_true(hits > 0)
      end
    end
    assert.has_error(function() serve.engine("fcfs", { cache = "gdsf" }) end,
                     "gdnmeta.engine: cache wants hash_block_size")
    assert.has_error(function() engine { cache = { demote = function() return "drop" end } } end,
                     "gdnmeta.engine: cache anonymous has demote, which wants the option host_slots")
  end)
end)
