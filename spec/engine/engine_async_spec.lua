-- Engines with two steps in flight: order, late stops, and steps that are built again after rejected
-- drafts.
local gdn = require "gdnmeta"
local serve = require "spec.support.run_engine"

local ECAP = -3
local builder, request = serve.builder, serve.request

describe("Two steps in flight", function()
  local function async(options, of_builder)
    local b = { max_num_seqs = 2, max_requests = 4, max_rows = 8, max_num_batched_tokens = 64 }
    for name, value in pairs(of_builder or {}) do b[name] = value end
    local given = { builder = builder(b), second_builder = builder(b), async = true, policy = "fcfs",
                    max_model_len = 200 }
    for name, value in pairs(options or {}) do given[name] = value end
    return assert(gdn.engine(given))
  end

  it("complete in order", function()
    local engine = async()
    engine:submit(request(1, { prompt_tokens = 100 }))
    local first, second = engine:step(0), engine:step(1)
    assert.are_not.equal(first, second)
    assert.are.same({ 64, 36 }, { first.num_tokens, second.num_tokens })
    assert.are.same({ nil, "step 1 is in flight, complete it first", ECAP }, { engine:step(2) })
    assert.has_error(function() engine:complete(second, 2) end,
                     "gdnmeta.Engine:complete: step 2 is in flight after step 1")
    engine:complete(first, 2)
    engine:complete(second, 3)
    assert.are.equal(101, engine:request(1).known)
    engine:close()
  end)

  it("have metadata of their own", function()
    local engine = async()
    engine:submit(request(1))
    local first, second = engine:step(0), engine:step(0)
    assert.are.equal(1, first.metadata.num_prefills)
    assert.are.equal(1, second.metadata.num_decodes)
    assert.are.equal(10, first.metadata.num_prefill_tokens)
    engine:close()
  end)

  it("notice a stop one step late, and keep the slots until then", function()
    local engine = async()
    engine:submit(request(1))
    local first, second = engine:step(0), engine:step(0)
    engine:complete(first, 1, { [1] = { stop = true } })
    assert.are.same({ 1 }, first.finished)
    assert.are.equal(1, engine:slots().used)
    engine:complete(second, 2)
    assert.are.equal(0, second.emitted[0])
    assert.are.same({ 1, 1, 0 }, { engine.stats.wasted_rows, engine.stats.wasted_tokens,
                                   engine:slots().used })
    engine:close()
  end)

  it("keep a preempted request out until the step that names it is complete", function()
    local engine = async()
    engine:submit(request(1, { max_tokens = 9 }))
    local first = engine:step(0)
    assert(engine:set_policy(function(view, plan) for i in view:running() do plan:preempt(i) end end))
    assert.are.same({ 1 }, engine:step(1).preempted)
    assert.are.equal(1, engine:slots().used)
    local answer
    assert(engine:set_policy(function(view, plan)
      for i in view:waiting() do answer = select(2, plan:admit(i)) or "granted" end
    end))
    assert.are.equal(0, engine:step(2).num_rows)
    assert.are.equal("in flight", answer)
    engine:complete(first, 3)
    assert.are.equal(0, engine:slots().used)
    assert.are.equal(11, engine:request(1).known) -- what it said stays said
    local step = engine:step(4)
    assert.are.same({ "granted", 11, 0 }, { answer, step.query_len[0], engine.stats.fallbacks })
    engine:close()
  end)

  -- Preempted, and then cancelled by its host or rejected by the policy, while a step names it.
  for _, way in ipairs { "cancelled", "rejected" } do
    it("say nothing for a request that was " .. way .. " since, whose number is free after them", function()
      local engine = async(nil, { max_num_seqs = 1, max_requests = 1 })
      engine:submit(request(1, { max_tokens = 1 }))
      local first = engine:step(0)
      assert(engine:set_policy(function(view, plan) for i in view:running() do plan:preempt(i) end end))
      assert.are.same({ 1 }, engine:step(1).preempted)
      if way == "cancelled" then assert.is_true(engine:cancel(1)) end
      assert(engine:set_policy(function(view, plan) for i in view:waiting() do plan:reject(i, "no") end end))
      assert.are.same(way == "rejected" and { 1 } or {}, engine:step(2).rejected)
      assert.is_nil(engine:request(1))
      engine:complete(first, 3)
      assert.are.same({ 0, 0, {} }, { first.emitted[0], first.finish[0], first.finished })
      assert.are.same({ 0, 0, 1, 0 }, { engine.stats.emitted, engine.stats.finished, engine.stats[way],
                                        engine:slots().used })
      assert.is_true(engine:verify())
      assert(engine:set_policy "fcfs")
      for id = 2, 4 do -- as many numbers as ever
        engine:submit(request(id, { max_tokens = 1 }))
        local step = engine:step(4)
        engine:complete(step, 4)
        assert.are.same({ id }, step.finished)
      end
      assert.are.same({}, (engine:failures()))
      engine:close()
    end)
  end

  it("keep what a cancelled request holds, and its number, until both are complete", function()
    local engine = async(nil, { max_num_seqs = 1, max_requests = 1 })
    engine:submit(request(1, { max_tokens = 9 }))
    local first, second = engine:step(0), engine:step(0)
    assert.is_true(engine:cancel(1))
    engine:submit(request(2, { max_tokens = 1 }))
    for _, step in ipairs { first, second } do
      local table_row = engine.private.requests.table_row[step.request[0]]
      assert.are.same({ 1, 0 }, { engine:slots().used, table_row })
      engine:complete(step, 1)
      assert.is_true(engine:verify())
    end
    assert.are.same({ 0, 0 }, { engine:slots().used, engine.stats.emitted })
    for id = 3, 5 do engine:submit(request(id, { max_tokens = 1 })) end
    assert.are.equal(4, serve.run(engine).steps)
    assert.are.equal(4, engine.private.requests.used) -- as there were at most
    assert.are.equal(4, #engine.private.requests.free)
    engine:close()
  end)

  it("say nothing for a decode that was cancelled while both name it", function()
    local engine = async()
    for id = 1, 2 do engine:submit(request(id, { max_tokens = 9 })) end
    engine:complete(engine:step(0), 0)
    local first, second = engine:step(1), engine:step(1)
    assert.are.same({ 2, 2 }, { first.num_decodes, second.num_decodes })
    assert.is_true(engine:cancel(1))
    for _, step in ipairs { first, second } do
      engine:complete(step, 2)
      assert.is_true(engine:verify())
      local row = step.ids[1] == 1 and 0 or 1
      assert.are.same({ 0, 0, 1 }, { step.emitted[row], step.finish[row], step.emitted[1 - row] })
    end
    assert.are.same({ 4, 1 }, { engine.stats.emitted, engine:slots().used })
    engine:close()
  end)

  it("count nothing as computed in vain of a preempted request that the first one ends", function()
    local engine = async({ max_model_len = 64 },
                         { mamba_cache_mode = "align", mamba_block_size = 8, max_blocks_per_row = 11 })
    engine:submit(request(1, { prompt_tokens = 24, max_tokens = 9 }))
    engine:complete(engine:step(0), 0)
    engine:submit(request(2, { prompt_tokens = 30, checkpoint = assert(engine:checkpoint(1)) }))
    local first = engine:step(1)
    assert(engine:set_policy(function(view, plan) for i in view:running() do plan:preempt(i) end end))
    assert.are.equal(2, #engine:step(2).preempted)
    assert.are.equal(25 + 6, engine.stats.discarded) -- what the kept state saves was not computed
    engine:complete(first, 3, { [2] = { stop = true } })
    assert.are.same({ { 2 }, 25 }, { first.finished, engine.stats.discarded })
    engine:close()
  end)

  it("schedule no request that the steps in flight may finish", function()
    local engine = async()
    engine:submit(request(1, { max_tokens = 2 }))
    local first, second = engine:step(0), engine:step(0)
    assert.are.equal(1, second.num_rows)
    engine:complete(first, 0)
    assert.are.equal(0, engine:step(0).num_rows)
    engine:complete(second, 0)
    assert.are.same({ 1 }, second.finished)
    assert.are.equal(0, engine.stats.wasted_rows)
    engine:close()
  end)

  it("are built again when drafts are rejected that the later one counted on", function()
    local engine = async(nil, { num_speculative_tokens = 3 })
    engine:submit(request(1, { max_tokens = 50 }))
    engine:complete(engine:step(0), 0)
    local first, second = engine:step(1), engine:step(2)
    assert.are.same({ 14, 18 }, { first.seq_len[0], second.seq_len[0] })
    engine:complete(first, 3, { [1] = { accepted_drafts = 1 } })
    assert.are.equal(16, second.seq_len[0])
    assert.are.equal(2, second.metadata.num_accepted_tokens[0])
    assert.are.equal(1, second.read_column[0])
    engine:complete(second, 4, { [1] = { accepted_drafts = 3 } })
    assert.are.same({ 17, 16 }, { engine:request(1).known, engine:request(1).computed_tokens })
    engine:close()
  end)

  it("say where the tokens lie of a step that is built again", function()
    for accepted = 0, 3 do
      local engine = async({ kv_blocks = 40, kv_block_size = 4 }, { num_speculative_tokens = 3 })
      engine:submit(request(1, { max_tokens = 50 }))
      engine:complete(engine:step(0), 0)
      local first, second = engine:step(1), engine:step(2)
      engine:complete(first, 3, { [1] = { accepted_drafts = accepted } })
      local cells = second.kv_table + second.table_row[0] * engine.max_kv_blocks
      local want, got = {}, {}
      for t = 0, 3 do
        local position = 11 + accepted + t -- after the prompt's ten tokens, one, and those accepted
        want[t] = cells[math.floor(position / 4)] * 4 + position % 4
        got[t] = tonumber(second.kv_slot_mapping[t])
      end
      assert.are.same(want, got)
      engine:close()
    end
  end)
end)

describe("Two steps in flight on the CPU", function()
  it("are of a builder each, in turn: what the first one is made of stays as it was", function()
    local first, second = serve.builder(), serve.builder()
    local e = assert(gdn.engine { builder = first, second_builder = second, async = true,
                                  max_model_len = 60 })
    for id = 1, 2 do assert(e:submit(serve.request(id, { prompt_tokens = 5 + id, max_tokens = 20 }))) end
    local before = assert(e:step(1))
    local shown = tostring(before.metadata.non_spec_query_start_loc)
    for now = 2, 7 do
      local step = assert(e:step(now))
      assert.are.same({ now % 2 == 0, now % 2 == 1 },
                      { before.builder == first and step.builder == second,
                        before.builder == second and step.builder == first })
      assert.are.equal(shown, tostring(before.metadata.non_spec_query_start_loc))
      assert(e:complete(before, now))
      before, shown = step, tostring(step.metadata.non_spec_query_start_loc)
    end
    e:close()
  end)
end)
