-- Requests and states that find no slot, block or memory left: they say so, by these words, and nothing is
-- taken. And what a state cache gives up for a policy of whole steps.
local serve = require "spec.support.run_engine"

local ECAP = -3
local request = serve.request

-- All that a refusal could leave behind.
local function taken(e)
  local users, classes = e.private.users, e.private.classes
  local held = 0
  for _, names in ipairs { users, classes } do
    for _, n in pairs(names.holders) do held = held + n end
  end
  local kv = e:kv()
  return { e:slots().used, kv and kv.used or 0, held, e.stats.arrived, e.stats.waiting,
           e.private.requests.used }
end

-- The call is refused, and leaves all as it was.
local function refused(e, call)
  local before = taken(e)
  local ok, message, code = call()
  assert.is_nil(ok)
  assert.are.same(before, taken(e))
  assert.is_true(e:verify())
  return message, code
end

describe("What finds too little left", function()
  it("is a request that is longer than a step without chunks, or than the model takes", function()
    local e = serve.engine("fcfs", { chunked_prefill = false, max_model_len = 100 })
    local message, code = refused(e, function()
      return e:submit(request("x", { prompt_tokens = 60, max_tokens = 6 }))
    end)
    assert.are.equal("request x: has up to 65 tokens, want at most 64 (max_num_batched_tokens, without "
                     .. "chunks)", message)
    assert.are.equal(ECAP, code)
    assert(e:submit(request("y", { prompt_tokens = 60, max_tokens = 5 })))
    e:close()
    e = serve.engine("fcfs", { chunked_prefill = false, max_model_len = 65 })
    assert(e:submit(request("z", { prompt_tokens = 60, max_tokens = 600 }))) -- it ends at 64 tokens
    message, code = refused(e, function() return e:submit(request("long", { prompt_tokens = 65 })) end)
    assert.are.same({ "request long: prompt_tokens = 65, want at most 64 (max_model_len - 1)", ECAP },
                    { message, code })
    assert(e:submit(request("last", { prompt_tokens = 64 })))
    e:close()
    e = serve.engine("fcfs", { chunked_prefill = false, max_model_len = 66 })
    message = refused(e, function()
      return e:submit(request("z", { prompt_tokens = 60, max_tokens = 600 }))
    end)
    assert.matches("has up to 65 tokens", message)
    e:close()
  end)

  it("is a state whose request has no slot to go on with", function()
    for _, slots in ipairs { 3, 4 } do
      local e = serve.engine("fcfs", nil, { num_slots = slots, max_blocks_per_row = 2 })
      for id = 1, 2 do assert(e:submit(request(id))) end
      assert(e:complete(assert(e:step(1)), 1))
      if slots == 3 then
        local message, code = refused(e, function() return e:export(1) end)
        assert.are.equal("request 1 finds no free state slot to move on to", message)
        assert.are.equal(ECAP, code)
      else
        assert.are.equal(10, assert(e:export(1)).tokens)
      end
      serve.run(e)
      e:close()
    end
  end)

  it("is a place for a state that others leave too few blocks", function()
    for _, blocks in ipairs { 10, 11 } do
      local e = serve.engine("fcfs", { kv_blocks = blocks, kv_block_size = 4, max_model_len = 60 },
                             { max_blocks_per_row = 2, num_slots = 9 })
      for id = 1, 2 do assert(e:submit(request(id, { prompt_tokens = 13 }))) end -- four blocks each
      assert(e:complete(assert(e:step(1)), 1))
      if blocks == 10 then
        local message, code = refused(e, function() return e:receive(12) end)
        assert.are.equal("a state of 12 tokens finds too few free blocks of attention cache", message)
        assert.are.equal(ECAP, code)
      else
        assert.are.equal(3, #assert(e:receive(12)).kv_blocks)
      end
      e:close()
    end
  end)

  it("is a request for whose names or columns there is no memory", function()
    for _, place in ipairs { "classes", "requests" } do
      local e = serve.engine "fcfs"
      assert(e:submit(request("a", { user = "u", class = "c" })))
      local method, of = place == "classes" and "hold" or "take", e.private[place]
      local own, before = rawget(of, method), taken(e)
      of[method] = function() error("not enough memory", 0) end
      local ok, message = pcall(e.submit, e, request("b", { user = "v", class = "d" }))
      of[method] = own
      assert.are.same({ false, "not enough memory" }, { ok, message })
      assert.are.same(before, taken(e))
      assert(e:submit(request("b", { user = "v", class = "d" })))
      assert.are.equal(2, serve.run(e).steps > 0 and e.stats.finished)
      e:close()
    end
  end)
end)

describe("A checkpoint", function()
  it("is of a token where blocks have one, and none where nothing is computed", function()
    local e = serve.engine("fcfs", { max_num_batched_tokens = 4, max_model_len = 30 },
                           { mamba_cache_mode = "align", mamba_block_size = 1, max_blocks_per_row = 40,
                             num_slots = 40, max_num_batched_tokens = 4 })
    assert(e:submit(request("x", { prompt_tokens = 1, max_tokens = 9 })))
    local want = "request %s stands at %d tokens, want the end of a prompt chunk on a multiple of 1"
    assert.are.equal(want:format("x", 0), select(2, e:checkpoint "x"))
    local step = assert(e:step(1))
    assert.are.equal(want:format("x", 0), select(2, e:checkpoint "x"))
    assert(e:complete(step, 1))
    local state = assert(e:checkpoint "x")
    assert.are.equal(1, state.tokens)
    assert(e:cancel "x")
    assert(e:submit(request("y", { prompt_tokens = 3, checkpoint = state }))) -- it waits
    assert.are.equal(want:format("y", 1), select(2, e:checkpoint "y"))
    e:close()
    e = serve.engine "fcfs"
    assert(e:submit(request "x"))
    assert.are.equal("request x wants mamba_cache_mode align", select(2, e:checkpoint "x"))
    e:close()
  end)
end)

describe("A policy of whole steps", function()
  it("admits a request for which states of others leave", function()
    local answers = {}
    local e = serve.caching_engine({ policy = function(view, plan)
      for i in view:running() do plan:take(i) end
      for i in view:waiting() do answers[#answers + 1] = { plan:admit(i) } end
    end }, { num_slots = 4 })
    local function submit(text)
      local tokens = {}
      for k = 1, 18 do tokens[k] = 100 * text + k end
      assert(e:submit(request(text, { prompt_tokens = 18, max_tokens = 1, tokens = tokens })))
    end
    for text = 1, 2 do -- one after the other: each leaves a state, and a slot is free
      submit(text)
      serve.run(e)
    end
    assert.are.equal(2, e:slots().used)
    answers = {}
    for text = 3, 6 do submit(text) end
    assert(e:complete(assert(e:step(9)), 9))
    assert.are.same({ { 16 }, { 16 }, { 16 }, { nil, "slots" } }, answers)
    serve.run(e)
    assert.are.equal(6, e.stats.finished)
    e:close()
  end)

  it("that schedules nothing hears of whole blocks, where chunks are made of them", function()
    local e = serve.engine(function() end, { max_model_len = 60 },
                           { mamba_cache_mode = "align", mamba_block_size = 8, max_blocks_per_row = 8 })
    assert(e:submit(request(1)))
    assert.are.equal(1, assert(e:step(1)).num_rows)
    assert.are.equal("I24, progress: nothing is scheduled, though requests could run; a chunk takes "
                     .. "multiples of ctx.chunk_multiple = 8", e:failures()[1].message)
    e:close()
  end)
end)
