-- Forks, exports and arriving states: what they share, and what is refused, with the reason.
local serve = require "spec.support.run_engine"

local EINVAL, ECAP = -1, -3
local request = serve.request

local function engine(options, builder)
  local b = { max_blocks_per_row = 2, num_slots = 9 }
  for name, value in pairs(builder or {}) do b[name] = value end
  return serve.engine("fcfs", options, b)
end

local function play(e, n)
  local step
  for now = 1, n do
    step = assert(e:step(now))
    e:complete(step, now)
  end
  return step
end

describe("engine:fork", function()
  it("of a request that runs, of which no step could be built yet, begins with no state", function()
    local e = engine()
    assert(e:submit(request "a"))
    rawset(e.private.builder, "build", function() return nil, "refused", -3 end)
    assert.is_nil(e:step(1))
    rawset(e.private.builder, "build", nil)
    assert.are.equal("running", e:request("a").state)
    assert.is_true(e:fork("a", { id = "b" }))
    assert.are.same({ nil, "request a has no tokens computed", ECAP }, { e:export "a" })
    local step = assert(e:step(2))
    assert.are.same({ { "a", "b" }, 10, 10 }, { step.ids, step.query_len[0], step.query_len[1] })
    assert(e:complete(step, 2))
    assert(e:verify())
    serve.run(e)
    assert.are.equal(0, e:slots().used)
    e:close()
  end)

  it("has the identity of the request: the cache knows as much of both", function()
    local e = engine({ hash_block_size = 4 }, { num_slots = 12 })
    assert(e:submit(request("a", { prompt_tokens = 10, blocks = { 1, 2 } })))
    assert(e:submit(request("b", { prompt_tokens = 10 })))
    play(e, 1)
    for id, of in pairs { c = "a", d = "b" } do assert(e:fork(of, { id = id })) end
    assert.are.equal(2, e.cache:stats().without_identity) -- b and d
    serve.run(e)
    e:close()
  end)

  it("waits for the step of a request that was sent back while it was in flight", function()
    local builder = { max_blocks_per_row = 2, num_slots = 9 }
    local e = serve.engine(function(view, plan)
      if view.step < 3 then return plan:fill() end
      for i in view:running() do plan:preempt(i) end
    end, { async = true, second_builder = serve.builder(builder) }, builder)
    assert(e:submit(request "a"))
    assert(e:complete(assert(e:step(1)), 1))
    local step = assert(e:step(2))
    assert.are.same({ "a" }, assert(e:step(3)).preempted)
    assert.are.same({ nil, "request a has a step in flight, complete it first", ECAP },
                    { e:fork("a", { id = "b" }) })
    assert(e:complete(step, 3))
    assert.is_true(e:fork("a", { id = "b" }))
    assert.are.same({ 12, 12 }, { e:request("a").known, e:request("b").known })
    assert(e:set_policy "fcfs")
    serve.run(e)
    assert.are.equal(0, e:slots().used)
    e:close()
  end)

  it("counts as an arrival where somebody counts", function()
    local e = engine()
    local metrics = require("gdnmeta").metrics(e)
    assert(e:submit(request "a"))
    play(e, 1)
    assert.is_true(e:fork("a", { id = "b" }))
    assert.matches("gdnmeta_requests_arrived_total[^\n]* 2\n", metrics:text())
    e:close()
  end)

  it("makes a request that computes nothing again, and shares whole blocks", function()
    local e = engine { kv_blocks = 40, kv_block_size = 4 }
    assert(e:submit(request("a", { prompt_tokens = 10, max_tokens = 6 })))
    play(e, 2) -- 11 tokens are computed, 12 known
    local used = e:kv().used
    assert.is_true(e:fork("a", { id = "b" }))
    assert.are.same({ 12, 11 }, { e:request("b").known, e:request("b").computed_tokens })
    local step = assert(e:step(3))
    assert.are.same({ "a", "b" }, { step:id(0), step:id(1) })
    assert.are.same({ 1, 1 }, { step.query_len[0], step.query_len[1] })
    assert.are.same({ 12, 12 }, { step.seq_len[0], step.seq_len[1] })
    assert.are.equal(used + 1, e:kv().used) -- the block that both go on in
    assert.are.same(1, #step.kv_copies)
    local width = e.max_kv_blocks
    local a, b = step.kv_table + step.table_row[0] * width, step.kv_table + step.table_row[1] * width
    assert.are.same({ a[0], a[1] }, { b[0], b[1] })
    assert.are.same({ from = a[2], to = b[2] }, step.kv_copies[1])
    -- Both read the one state, and write a slot of their own.
    local reads = step.metadata.non_spec_read_state_indices
    local writes = step.metadata.non_spec_state_indices_tensor
    assert.are.equal(reads[0], reads[1])
    assert.is_true(writes[0] ~= writes[1] and writes[0] ~= reads[0] and writes[1] ~= reads[0])
    e:complete(step, 3)
    serve.run(e)
    assert.are.same({ 0, 0 }, { e:slots().used, e:kv().used })
    e:close()
  end)

  it("is counted among those that wait, as any that is submitted", function()
    local e = engine()
    local function counts() return { e.stats.waiting, e.stats.running } end
    assert(e:submit(request "a"))
    assert.are.same({ 1, 0 }, counts())
    assert(e:fork("a", { id = "b" }))
    assert.are.same({ 2, 0 }, counts())
    play(e, 1)
    assert.are.same({ 0, 2 }, counts())
    assert(e:fork("b", { id = "c" }))
    assert.are.same({ 1, 2 }, counts())
    assert(e:cancel "a")
    assert.are.same({ 1, 1 }, counts())
    e:close()
  end)

  it("says of a running request whether it has no tokens, or only some that are in flight", function()
    local e = serve.engine("fcfs", { max_model_len = 60 }, { -- blocks of one token: each ends one
      mamba_cache_mode = "align", mamba_block_size = 1, max_blocks_per_row = 62, num_slots = 40 })
    local function refused(why) assert.are.same({ nil, "request a " .. why, ECAP }, { e:export "a" }) end
    assert(e:submit(request("a", { prompt_tokens = 1 })))
    rawset(e.private.builder, "build", function() return nil, "refused", -3 end)
    assert.is_nil(e:step(1))
    rawset(e.private.builder, "build", nil)
    refused "has no tokens computed"
    e:complete(e:step(1), 1)
    assert(e:step(2))
    assert.are.equal(1, assert(e:export "a").tokens)
    e:close()
  end)

  it("takes a waiting request as it is, and refuses unknown ones, ids in use and steps in flight", function()
    local e = engine()
    assert(e:submit(request "a"))
    assert.is_true(e:fork("a", { id = "b", max_tokens = 3 }))
    assert.are.same({ 0, 3 }, { e:request("b").computed_tokens, e:request("b").max_tokens })
    assert.are.same({ nil, "no request x", EINVAL }, { e:fork("x", { id = "y" }) })
    assert.are.same({ nil, 'id "a" is in use', EINVAL }, { e:fork("b", { id = "a" }) })
    local step = e:step(1)
    assert.are.same({ nil, "request a has a step in flight, complete it first", ECAP },
                    { e:fork("a", { id = "c" }) })
    e:complete(step, 1)
    assert.are.same({ nil, "request c: max_tokens = 1, want more than the 1 that request a has", EINVAL },
                    { e:fork("a", { id = "c", max_tokens = 1 }) })
    assert.has_error(function() e:fork "a" end, "gdnmeta.Engine:fork: want a table, got nil")
    assert.has_error(function() e:fork("a", {}) end,
                     "gdnmeta.Engine:fork: id = nil, want a number or a string")
    e:close()
  end)

  it("wants a column where the shared state is read", function()
    local e = engine(nil, { max_blocks_per_row = 1 })
    assert(e:submit(request "a"))
    play(e, 1)
    local want = "request a wants a free column of the state tables: max_blocks_per_row = 1, want at least 2"
    assert.are.same({ nil, want, ECAP }, { e:fork("a", { id = "b" }) })
    e:close()
  end)
end)

describe("States that are kept", function()
  it("are refused where they would leave no request room to run: F10", function()
    local e = engine({ kv_blocks = 12, kv_block_size = 4 }, { num_slots = 4 }) -- three slots
    assert(e:submit(request("a", { prompt_tokens = 10, max_tokens = 20 }))) -- up to 8 blocks
    play(e, 1)
    local first = assert(e:export "a") -- 3 blocks
    assert.are.same({ 10, 1, 3 }, { first.tokens, #first.slots, #first.kv_blocks })
    play(e, 1)
    local want = "a state of 8 tokens leaves 7 blocks of attention cache to requests, want at least 8: "
      .. "others are kept"
    assert.are.same({ nil, want, ECAP }, { e:receive(8) })
    assert.are.same({ nil, "request b: needs 10 blocks of attention cache, want at most 9", ECAP },
                    { e:submit(request("b", { prompt_tokens = 30, max_tokens = 11 })) })
    e:cancel "a"
    local second = assert(e:receive(8))
    want = "a state of 4 tokens leaves 0 slots of group 0 to requests, want at least 1: others are kept"
    assert.are.same({ nil, want, ECAP }, { e:receive(4) })
    e:release(first)
    e:release(second)
    assert.are.same({ 0, 0 }, { e:slots().used, e:kv().used })
    e:close()
  end)

  -- Of "a" the state cache keeps the state and the last block; the first two were known of "b", and go.
  it("are not used after their release, though others hold the slots", function()
    local e = engine { kv_blocks = 30, kv_block_size = 4, hash_block_size = 4, max_model_len = 60 }
    assert(e:submit(request("b", { prompt_tokens = 16, max_tokens = 30, blocks = { 1, 2, 3, 4 } })))
    assert(e:submit(request("a", { prompt_tokens = 16, max_tokens = 30, blocks = { 1, 2, 33, 34 } })))
    play(e, 1)
    local state = assert(e:export "a")
    e:release(state)
    e:cancel "a"
    for name, field in pairs { slot = "slot", keep = "keep" } do
      local _, message = e:submit(request("c", { prompt_tokens = 30, [field] = state }))
      assert.are.equal(name == "slot" and "request c: slot: was released, want a state that is kept"
        or "request c: keep: want what receive() of this engine gave, used by no other request", message)
    end
    assert.is_true(e:verify())
    e:close()
  end)

  it("are where a request begins that arrives with its state", function()
    local e = engine { kv_blocks = 40, kv_block_size = 4 }
    local state = assert(e:receive(9))
    local arriving = request("a", { prompt_tokens = 12, computed = 9, slot = state })
    assert.are.same({ nil, "request a: computed = 8, want slot.tokens = 9", EINVAL },
                    { e:submit(request("a", { prompt_tokens = 12, computed = 8, slot = state })) })
    assert.are.same({ nil, "request a: computed wants slot, what engine:receive() gave", EINVAL },
                    { e:submit(request("a", { computed = 8 })) })
    assert.are.same({ nil, "request a: slot: want what receive() or export() of this engine gave", EINVAL },
                    { e:submit(request("a", { slot = {} })) })
    assert.are.same({ nil, "request a: slot.tokens = 9, want less than prompt_tokens = 9", EINVAL },
                    { e:submit(request("a", { prompt_tokens = 9, slot = state })) })
    assert.is_true(e:submit(arriving))
    e:release(state) -- the request holds it
    local step = e:step(1)
    assert.are.same({ 3, 12 }, { step.query_len[0], step.seq_len[0] })
    assert.are.equal(state.slots[1], step.metadata.non_spec_read_state_indices[0])
    local own = step.kv_table + step.table_row[0] * e.max_kv_blocks
    assert.are.same({ { from = state.kv_blocks[3], to = own[2] } }, step.kv_copies)
    e:complete(step, 1)
    serve.run(e)
    assert.are.same({ 0, 0 }, { e:slots().used, e:kv().used })
    e:close()
  end)
end)
