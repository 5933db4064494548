-- What verify_plan.lua says of a plan, in whole sentences: right at the end of what is legal, and one
-- after it.
local verify_plan = require "gdnmeta.engine.decide.verify_plan"
local serve = require "spec.support.run_engine"

local engine

-- What the proof says of a plan of decodes { id, drafts }, chunks { id, tokens } and victims' ids.
local function problem(decodes, chunks, victims)
  local plan, index = engine.private.plan, engine.private.requests.index
  plan:begin(engine.private.max_num_batched_tokens, 9, 9, 9, 0, 0)
  local function put(list, numbers, amounts)
    for p, entry in ipairs(list or {}) do
      numbers[p - 1], amounts[p - 1] = index[entry[1]] or entry[1], entry[2]
    end
  end
  put(decodes, plan.decodes, plan.drafts)
  put(chunks, plan.chunks, plan.tokens)
  for v, id in ipairs(victims or {}) do plan.victims[v - 1] = index[id] end
  plan.num_decodes, plan.num_chunks, plan.num_victims = #(decodes or {}), #(chunks or {}), #(victims or {})
  local text, i = verify_plan.problem(engine.private)
  plan:begin(engine.private.max_num_batched_tokens, 9, 9, 9, 0, 0)
  text = text and text:gsub("^(I%d+), [%l ]+:", "%1:") -- the rule's name is docs_spec's matter
  return text, i and engine.private.requests.id[i]
end

local function legal(...) assert.are.same({}, { problem(...) }) end

local function illegal(message, id, ...) assert.are.same({ message, id }, { problem(...) }) end

-- One step; drafts: by id, for the next.
local function step(drafts)
  local at, results = assert(engine:step(1)), {}
  for row = 0, at.num_rows - 1 do results[at:id(row)] = { next_drafts = drafts or 0 } end
  assert(engine:complete(at, 1, results))
end

local function start(options, builder, ...)
  engine = serve.engine("fcfs", options, builder)
  for _, request in ipairs { ... } do assert(engine:submit(request)) end
end

describe("A proof", function()
  after_each(function() engine:close() end)

  it("of decodes knows their drafts", function()
    start({ max_model_len = 40 }, { num_speculative_tokens = 3 },
          serve.request("a", { max_tokens = 30 }), serve.request("b", { max_tokens = 30 }),
          serve.request("c", { prompt_tokens = 50 - 20 }), serve.request("w"))
    step(2)
    assert(engine:submit(serve.request "late"))
    legal({ { "a", 0 }, { "b", 0 } })
    legal({ { "a", 2 }, { "b", 1 } })
    illegal("I7: request b takes 4 tokens, want 3", "b", { { "a", 2 }, { "b", 3 } })
    illegal("I1: request a takes 1 tokens, want 0", "a", { { "a", 0 }, { "a", 0 } })
    illegal("I2: request b takes 0 tokens, want 1", "b", { { "a", 1 }, { "b", -1 } })
    illegal("I4: request late takes 1 tokens, want 0", "late", { { "late", 0 } })
    illegal("I1: request a takes 2 tokens, want 0", "a", { { "a", 0 } }, { { "a", 2 } })
    illegal("I4: request late takes 3 tokens, want 0", "late", { { "late", 2 } })
  end)

  it("of a decode knows the longest sequence", function()
    start({ max_model_len = 14 }, { num_speculative_tokens = 3 },
          serve.request("a", { max_tokens = 30 }))
    step(3)
    legal({ { "a", 2 } })
    illegal("I6: request a takes 4 tokens, want 3", "a", { { "a", 3 } })
  end)

  it("of text knows what is there, and the threshold beside others", function()
    start({ long_prefill_token_threshold = 8, max_num_seqs = 2 }, nil,
          serve.request("a", { prompt_tokens = 30 }), serve.request("b", { prompt_tokens = 30 }),
          serve.request "c")
    legal(nil, { { "a", 8 }, { "b", 8 } })
    illegal("I9: request a takes 9 tokens, want 8", "a", nil, { { "a", 9 } })
    illegal("I2: request b takes 0 tokens, want 1", "b", nil, { { "a", 1 }, { "b", 0 } })
    illegal("I1: request a takes 2 tokens, want 0", "a", nil, { { "a", 1 }, { "a", 2 } })
    illegal("I5: request a takes 31 tokens, want 30", "a", nil, { { "a", 31 } })
    illegal("I4: 3 requests would run, want at most 2", nil, nil, { { "a", 1 }, { "b", 1 }, { "c", 1 } })
    assert(engine:cancel "b")
    illegal("I9: request a takes 9 tokens, want 8", "a", nil, { { "a", 9 } })
    assert(engine:cancel "c")
    legal(nil, { { "a", 9 } })
    legal(nil, { { "a", 30 } })
    step()
    legal(nil, { { "a", 1 } })
    illegal("I5: request a takes 2 tokens, want 1", "a", nil, { { "a", 2 } })
    assert(engine:submit(serve.request "d"))
    legal(nil, { { "d", 10 } })
  end)

  it("of text knows the threshold beside those that run, too", function()
    for threshold = 1, 8, 7 do
      start({ long_prefill_token_threshold = threshold }, nil, serve.request("a", { prompt_tokens = 30 }),
            serve.request("b", { prompt_tokens = 30 }))
      step()
      legal(nil, { { "a", threshold }, { "b", threshold } })
      illegal(("I9: request b takes %d tokens, want %d"):format(threshold + 1, threshold), "b", nil,
              { { "a", threshold }, { "b", threshold + 1 } })
      assert(engine:cancel "a")
      legal(nil, { { "b", threshold + 1 } })
      engine:close()
    end
    start({ long_prefill_token_threshold = 8 }, nil, serve.request "d",
          serve.request("a", { prompt_tokens = 30 }))
    step()
    step() -- d decodes
    legal({ { "d", 0 } }, { { "a", 9 } })
    illegal("I4: request nil takes 1 tokens, want 0", nil, nil, { { 3, 1 } }) -- a number of nobody
    engine:close()
    start(nil, { mamba_block_size = 8 }, serve.request "a")
    legal(nil, { { "a", 9 } })
  end)

  it("of steps in flight knows which requests may end, and which table rows are not free yet", function()
    local function async(max_tokens)
      local small = { max_num_seqs = 1, max_requests = 1 }
      start({ async = true, second_builder = serve.builder(small), admit_after_preemption = true }, small,
            serve.request("a", { max_tokens = max_tokens }), serve.request "b")
      return assert(engine:step(1))
    end
    local first = async(1)
    illegal("I5: request a takes 1 tokens, want 0", "a", { { "a", 0 } })
    illegal("I5: request a takes 1 tokens, want 0", "a", nil, { { "a", 1 } })
    illegal("I4: 1 requests would run, want at most 1", nil, nil, { { "b", 1 } }, { "a" })
    assert(engine:complete(first, 1))
    engine:close()
    first = async(2)
    legal({ { "a", 0 } })
    local second = assert(engine:step(1))
    illegal("I5: request a takes 1 tokens, want 0", "a", { { "a", 0 } })
    assert(engine:complete(first, 1))
    assert(engine:complete(second, 1))
    engine:close()
    first = async(3)
    assert(engine:complete(first, 1))
    legal(nil, { { "b", 1 } }, { "a" })
    local requests = engine.private.requests
    for steps = 2, 0, -1 do -- in flight that name b, which was evicted
      requests.flight[requests.index.b] = steps
      if steps > 0 then
        illegal("I4: request b takes 1 tokens, want 0", "b", nil, { { "b", 1 } }, { "a" })
      else
        legal(nil, { { "b", 1 } }, { "a" })
      end
    end
  end)

  it("of text knows prompts in one piece, and blocks", function()
    start({ chunked_prefill = false, max_model_len = 60 }, nil, serve.request "a")
    legal(nil, { { "a", 10 } })
    illegal("I10: request a takes 9 tokens, want 10", "a", nil, { { "a", 9 } })
    engine:close()
    start({ chunked_prefill = false, max_model_len = 60 }, { max_blocks_per_row = 2 })
    local state = assert(engine:receive(4))
    assert(engine:submit { id = "a", prompt_tokens = 10, max_tokens = 3, computed = 4, slot = state })
    legal(nil, { { "a", 6 } })
    illegal("I10: request a takes 5 tokens, want 6", "a", nil, { { "a", 5 } })
    engine:release(state)
    engine:close()
    local align = { mamba_cache_mode = "align", mamba_block_size = 8, max_blocks_per_row = 8 }
    start({ max_model_len = 60 }, align, serve.request("a", { prompt_tokens = 30 }))
    for tokens, want in pairs { [7] = 24, [9] = 24, [23] = 24, [25] = 24, [30] = 24 } do
      illegal(("I11: request a takes %d tokens, want %d"):format(tokens, want), "a", nil, { { "a", tokens } })
    end
    for _, tokens in ipairs { 8, 16, 24 } do legal(nil, { { "a", tokens } }) end
    engine:close()
    start({ max_model_len = 48 }, align) -- a source ends within a block: its rest may be cut anywhere
    state = assert(engine:receive(12))
    assert(engine:submit { id = "a", prompt_tokens = 30, max_tokens = 3, computed = 12, slot = state })
    for tokens = 1, 4 do legal(nil, { { "a", tokens } }) end
    for tokens = 5, 18 do
      illegal(("I11: request a takes %d tokens, want 4"):format(tokens), "a", nil, { { "a", tokens } })
    end
    engine:release(state)
    engine:close()
    align.num_speculative_tokens = 1
    start({ max_model_len = 48 }, align, serve.request("a", { prompt_tokens = 30 }))
    illegal("I11: request a takes 24 tokens, want 16", "a", nil, { { "a", 24 } })
    legal(nil, { { "a", 16 } })
    assert(engine:submit(serve.request("short", { prompt_tokens = 7 })))
    for tokens = 1, 7 do legal(nil, { { "short", tokens } }) end
  end)

  it("of text and decodes knows where a request stands", function()
    start({ max_num_batched_tokens = 9 }, nil, serve.request "a")
    step() -- of 10 tokens of text one is left
    illegal("I7: request a takes 1 tokens, want 1", "a", { { "a", 0 } })
    legal(nil, { { "a", 1 } })
    step()
    step()
    legal { { "a", 0 } }
    local requests = engine.private.requests
    requests.computed[requests.index.a] = 10 -- as if it computed again what it has said
    illegal("I7: request a takes 1 tokens, want 1", "a", { { "a", 0 } })
    engine:close()
    start({ max_model_len = 60, max_num_batched_tokens = 8 },
          { mamba_cache_mode = "align", mamba_block_size = 8, max_blocks_per_row = 8 },
          serve.request("a", { prompt_tokens = 30 }))
    step() -- one block of it
    for _, tokens in ipairs { 1, 4, 7, 9, 15, 17, 22 } do
      illegal(("I11: request a takes %d tokens, want 16"):format(tokens), "a", nil, { { "a", tokens } })
    end
    legal(nil, { { "a", 8 } })
  end)

  it("of table rows counts those that victims give back, one each", function()
    start({ admit_after_preemption = true, max_num_seqs = 3 }, nil, serve.request "a")
    step()
    for _, id in ipairs { "b", "c" } do assert(engine:submit(serve.request(id))) end
    legal(nil, { { "b", 1 }, { "c", 1 } }, { "a" })
    engine.private.states.free_table_rows = 0
    illegal("I4: 2 requests would run, want at most 3", nil, nil, { { "b", 1 }, { "c", 1 } }, { "a" })
    legal(nil, { { "b", 1 } }, { "a" })
  end)

  it("of sums knows tokens, slots, blocks and table rows", function()
    start({ kv_tokens = 64, kv_block_size = 8, max_num_seqs = 3, max_num_batched_tokens = 32 },
          { num_slots = 4 }, serve.request("a", { prompt_tokens = 30 }),
          serve.request("b", { prompt_tokens = 30 }), serve.request "c")
    legal(nil, { { "a", 2 }, { "b", 30 } })
    illegal("I3: the plan has 33 tokens, want at most 32", nil, nil, { { "a", 3 }, { "b", 30 } })
    step() -- a has its text, b a start of two tokens
    legal({ { "a", 0 } }, { { "b", 28 } })
    engine.private.max_num_batched_tokens = 3
    legal({ { "a", 0 } }, { { "b", 2 } })
    illegal("I3: the plan has 4 tokens, want at most 3", nil, { { "a", 0 } }, { { "b", 3 } })
    engine.private.max_num_batched_tokens = 32
    local message = "I22: request %s is preempted, want one that runs, once, and is not scheduled"
    illegal(message:format "c", "c", nil, nil, { "c" })
    illegal(message:format "a", "a", { { "a", 0 } }, nil, { "a" })
    illegal(message:format "a", "a", nil, nil, { "a", "a" })
    legal({ { "a", 0 } }, nil, { "b" })
    illegal("I21: the plan admits in a step that preempts", nil, nil, { { "c", 1 } }, { "a" })
    engine.private.admit_after_preemption = true
    legal(nil, { { "c", 10 } }, { "a" })
    legal(nil, { { "c", 10 } }, { "a", "b" })
  end)

  it("of pools counts to the last block and slot, and what victims give back", function()
    start({ kv_tokens = 32, kv_block_size = 8, max_num_seqs = 3 }, { num_slots = 3 },
          serve.request("a", { prompt_tokens = 16, max_tokens = 2 }),
          serve.request("b", { prompt_tokens = 24, max_tokens = 2 }),
          serve.request("c", { prompt_tokens = 3, max_tokens = 2 }))
    illegal("I13: the plan needs 5 blocks of attention cache, 4 are free", nil, nil,
            { { "a", 16 }, { "b", 24 } })
    legal(nil, { { "a", 16 }, { "b", 16 } })
    illegal("I13: the plan needs 3 slots per group, 2 are free", nil, nil,
            { { "a", 1 }, { "b", 1 }, { "c", 1 } })
    step()
    assert.are.equal(2, engine:kv().free)
    engine.private.admit_after_preemption = true
    legal(nil, { { "b", 16 } })
    illegal("I13: the plan needs 3 blocks of attention cache, 2 are free", nil, nil, { { "b", 24 } })
    legal(nil, { { "b", 24 } }, { "a" })
    legal({ { "a", 0 } }, { { "b", 8 } }) -- the third block of a, and one of b
    illegal("I13: the plan needs 3 blocks of attention cache, 2 are free", nil, { { "a", 0 } },
            { { "b", 16 } })
    engine:close()
    local align = { mamba_cache_mode = "align", mamba_block_size = 8, max_blocks_per_row = 8, num_slots = 4 }
    start({ max_model_len = 60 }, align, serve.request("a", { prompt_tokens = 8 }),
          serve.request("b", { prompt_tokens = 24 }))
    step()
    legal { { "a", 0 } }
    legal(nil, { { "b", 1 } })
    illegal("I13: the plan needs 2 slots per group, 1 are free", nil, { { "a", 0 } }, { { "b", 1 } })
  end)
end)
