-- State slots of an engine: preemption, cancellation, and checkpoints that requests share.
local serve = require "spec.support.run_engine"

local EINVAL = -1
local request = serve.request

describe("Preemption", function()
  it("recomputes short stretches after the decodes and before the extends", function()
    local engine = serve.engine({ chunk = 8 }, nil,
                                { num_speculative_tokens = 2 })
    local function finish(step, now)
      local results = {}
      for row = 0, step.num_rows - 1 do results[step:id(row)] = { next_drafts = 0 } end
      engine:complete(step, now, results)
    end
    engine:submit(request("again", { prompt_tokens = 8, max_tokens = 9 }))
    for now = 0, 1 do finish(engine:step(now), now) end -- 11 tokens will be known
    engine:submit(request("extend", { prompt_tokens = 26 }))
    finish(engine:step(3), 3)
    assert(engine:set_policy(function(view, plan)
      for i in view:running() do
        if view:request(i).id == "again" then plan:preempt(i) else plan:take(i, 8) end
      end
    end))
    local step = engine:step(4)
    assert.are.same({ "again" }, step.preempted)
    finish(step, 4)
    assert(engine:set_policy { chunk = 8 })
    engine:submit(request("decode", { prompt_tokens = 1, max_tokens = 9 }))
    finish(engine:step(5), 5) -- again: 8 of 11 tokens, extend: 24 of 26
    engine:submit(request("fresh", { prompt_tokens = 3 }))
    step = engine:step(6)
    local order = {}
    for row = 0, step.num_rows - 1 do order[row + 1] = step:id(row) .. " " .. step.query_len[row] end
    assert.are.same({ "decode 1", "again 3", "extend 2", "fresh 3" }, order)
    assert.are.same({ 1, 1, 0, 0 }, { step.prompt_done[0], step.prompt_done[1], step.prompt_done[2],
                                      step.prompt_done[3] })
    engine:close()
  end)

  it("gives back slots and blocks, raises their generation, and starts again from nothing", function()
    local engine = serve.engine("fcfs", { kv_tokens = 80, kv_block_size = 16 })
    engine:submit(request(1, { prompt_tokens = 30, max_tokens = 40 }))
    engine:submit(request(2, { prompt_tokens = 30, max_tokens = 40 }))
    local pools, lib = engine.private.states.pools, require "gdnmeta.native"
    local step
    repeat
      step = engine:step(0)
      engine:complete(step, 0)
    until #step.preempted > 0
    assert.are.same({ 2 }, step.preempted)
    assert.are.equal(1, lib.gdn_slots_generation(pools, 0, 2))
    local shown = engine:request(2)
    assert.are.same({ "waiting", 0, 0, 1 },
                    { shown.state, shown.computed_tokens, shown.drafts, shown.preemptions })
    assert.are.equal(1, engine:slots().used)
    local seen = serve.run(engine)
    assert.are.equal(1, engine.stats.preemptions)
    assert.is_true(engine.stats.discarded >= 30)
    assert.is_true(seen.finished[1] ~= nil and seen.finished[2] ~= nil)
    assert.are.same({ size = 5, free = 5, used = 0, peak = 5 }, engine:kv())
    engine:close()
  end)
end)

describe("Engine:cancel", function()
  it("takes a waiting or running request out, and knows no other", function()
    local engine = serve.engine("fcfs", nil, { max_num_seqs = 1 })
    engine:submit(request(1))
    engine:submit(request(2))
    engine:complete(engine:step(0), 0)
    assert.is_true(engine:cancel(2))
    assert.is_true(engine:cancel(1))
    assert.are.same({ nil, "no request 1", EINVAL }, { engine:cancel(1) })
    assert.is_true(engine:idle())
    assert.are.equal(0, engine:slots().used)
    assert.are.equal(2, engine.stats.cancelled)
    assert.are.equal(10, engine.stats.abandoned)
    assert.is_true(engine:submit(request(1)))
    engine:close()
  end)

  it("keeps the slots of a request in flight until its step completes", function()
    local engine = serve.engine "fcfs"
    engine:submit(request(1))
    local step = engine:step(0)
    assert.is_true(engine:cancel(1))
    assert.are.equal(1, engine:slots().used)
    engine:submit(request(1, { prompt_tokens = 3 })) -- the id is free at once
    engine:complete(step, 0)
    assert.are.equal(0, engine:slots().used)
    assert.are.same({ 0, 0 }, { step.emitted[0], step.finish[0] })
    assert.are.equal(3, engine:request(1).prompt_tokens)
    engine:close()
  end)
end)

describe("Checkpoints", function()
  local engine
  before_each(function()
    engine = serve.engine("fcfs", { max_model_len = 300 }, {
      mamba_cache_mode = "align", mamba_block_size = 16, max_blocks_per_row = 20, num_slots = 40,
        num_groups = 2 })
  end)
  after_each(function() engine:close() end)

  it("start a request after the text that it shares", function()
    engine:submit(request(1, { prompt_tokens = 70 }))
    engine:complete(engine:step(0), 0) -- 64 tokens: the last whole block
    local checkpoint = assert(engine:checkpoint(1))
    assert.are.equal(64, checkpoint.tokens)
    assert.are.equal(2, #checkpoint.slots)
    serve.run(engine)
    assert.are.equal(2, engine:slots().used) -- the pinned state, one slot a group
    engine:submit(request(2, { prompt_tokens = 70, checkpoint = checkpoint }))
    engine:release(checkpoint)
    assert.has_error(function() engine:release(checkpoint) end, "gdnmeta.Engine:release: want what "
      .. "checkpoint(), export() or receive() of this engine gave, not released before")
    local step = engine:step(0)
    assert.are.same({ 6, 70, 3 }, { step.query_len[0], step.seq_len[0], step.read_column[0] })
    assert.are.equal(checkpoint.slots[1], step.metadata.non_spec_read_state_indices[0])
    assert.are.equal(checkpoint.slots[2], step.metadata:group(1).non_spec_read_state_indices[0])
    assert.is_true(step.metadata.has_initial_state[0])
    engine:complete(step, 0)
    serve.run(engine)
    assert.are.equal(0, engine:slots().used)
    local ok, message = engine:submit(request(3, { prompt_tokens = 70, checkpoint = checkpoint }))
    assert.is_nil(ok)
    assert.matches("checkpoint.slots%[1%] = %d+, want a slot that is still held", message)
  end)

  it("are what this engine gave, whatever became of the table", function()
    engine:submit(request(1, { prompt_tokens = 70 }))
    engine:complete(engine:step(0), 0)
    local checkpoint = assert(engine:checkpoint(1))
    local other = serve.engine("fcfs", { max_model_len = 60 }, { mamba_cache_mode = "align", num_slots = 40,
      mamba_block_size = 16, max_blocks_per_row = 20, num_groups = 2 })
    other:submit(request(1, { prompt_tokens = 20 }))
    other:complete(other:step(0), 0) -- slots of the same numbers and generations are held here too
    local function refuses(of, given)
      assert.are.same({ nil, "request 2: checkpoint: want what checkpoint() of this engine gave", EINVAL },
                      { of:submit(request(2, { prompt_tokens = 50, checkpoint = given })) })
    end
    refuses(other, checkpoint)
    refuses(engine, { tokens = 64, slots = checkpoint.slots, generations = checkpoint.generations })
    checkpoint.tokens, checkpoint.slots, checkpoint.generations = 16, {}, nil
    assert(engine:submit(request(2, { prompt_tokens = 70, checkpoint = checkpoint })))
    assert.are.equal(64, engine:request(2).cached)
    engine:release(checkpoint)
    serve.run(engine)
    assert.are.equal(0, engine:slots().used)
    other:close()
  end)

  it("exist only where a request stands on a block boundary", function()
    engine:submit(request(1, { prompt_tokens = 20 }))
    assert.are.equal("request 1 stands at 0 tokens, want the end of a prompt chunk on a multiple of 16",
                     select(2, engine:checkpoint(1)))
    engine:complete(engine:step(0), 0)
    engine:complete(engine:step(0), 0)
    assert.is_nil(engine:checkpoint(1))
    assert.are.equal("no request 9", select(2, engine:checkpoint(9)))
  end)

  it("exist after the first token where a block is one token", function()
    local e = serve.engine("fcfs", { max_model_len = 20 }, {
      mamba_cache_mode = "align", mamba_block_size = 1, max_blocks_per_row = 21, num_slots = 40 })
    e:submit(request(1, { prompt_tokens = 1, max_tokens = 3 }))
    assert.are.same({ nil, "request 1 stands at 0 tokens, want the end of a prompt chunk on a multiple of 1",
                      EINVAL }, { e:checkpoint(1) })
    e:complete(e:step(0), 0)
    local checkpoint = assert(e:checkpoint(1))
    assert.are.equal(1, checkpoint.tokens)
    assert(e:submit(request(2, { prompt_tokens = 2, max_tokens = 3, checkpoint = checkpoint })))
    e:release(checkpoint)
    e:complete(e:step(1), 1)
    assert.are.same({ 1, 2 }, { e:request(2).cached, e:request(2).computed_tokens })
    serve.run(e)
    assert.are.equal(0, e:slots().used)
    assert(e:verify())
    e:close()
  end)

  it("stand where the last completed step ended, while the next is in flight", function()
    local e = serve.engine("fcfs", { max_model_len = 200 }, {
      mamba_cache_mode = "align", mamba_block_size = 16, max_blocks_per_row = 13, num_slots = 40,
      max_num_batched_tokens = 32 })
    e:submit(request(1, { prompt_tokens = 100 }))
    e:complete(e:step(0), 0)
    local step = e:step(1)
    assert.are.equal(32, assert(e:checkpoint(1)).tokens)
    e:complete(step, 1)
    e:complete(e:step(2), 2)
    assert.are.equal(96, assert(e:checkpoint(1)).tokens)
    e:close()
  end)
end)

describe("A checkpoint after speculation", function()
  it("is refused while the state lies in a speculative column", function()
    local engine = serve.engine("fcfs", { max_model_len = 60 }, {
      mamba_cache_mode = "align", mamba_block_size = 8, max_blocks_per_row = 12, num_slots = 40,
      num_speculative_tokens = 3 })
    engine:submit(request(1, { prompt_tokens = 14, max_tokens = 30 }))
    repeat
      local step = engine:step(0)
      engine:complete(step, 0, { [1] = { accepted_drafts = math.min(math.max(step.drafts[0], 0), 1) } })
    until engine:request(1).computed_tokens == 16
    assert.are.equal("request 1 stands at 16 tokens, want the end of a prompt chunk on a multiple of 8",
                     select(2, engine:checkpoint(1)))
    engine:close()
  end)
end)
