-- What one step of an engine contains, and what its results change.
local gdn = require "gdnmeta"
local serve = require "spec.support.run_engine"

local ECAP = -3
local request = serve.request

describe("A step", function()
  it("has its rows as arrays, decodes first, and its news as lists", function()
    local engine = serve.engine("decode_first")
    engine:submit(request("a", { prompt_tokens = 6 }))
    engine:complete(engine:step(0), 0)
    engine:submit(request("b", { prompt_tokens = 100 }))
    engine:submit(request("c"))
    local step = engine:step(1)
    assert.are.same({ "a", "b" }, { step:id(0), step:id(1) })
    assert.are.same({ 2, 1, 63, 64 }, { step.num_rows, step.decode_tokens, step.prefill_tokens,
                                        step.num_tokens })
    assert.are.same({ 1, 63, 7, 63 }, { step.query_len[0], step.query_len[1], step.seq_len[0],
                                        step.seq_len[1] })
    assert.are.same({ 1, 0 }, { step.samples[0], step.samples[1] })
    assert.are.same({ "b" }, step.admitted)
    assert.are.equal(1, step.metadata.num_decodes)
    assert.are.equal(1, step.metadata.num_prefills)
    assert.has_error(function() step:id(2) end, "gdnmeta.Step:id: row = 2, want 0 .. 1")
    assert.are.equal("gdnmeta.Step(number=2, rows=2, tokens=64, padded=2x64, graph=eager)", tostring(step))
    engine:close()
  end)

  it("begins without the news of the one before, whichever list has some", function()
    local engine = serve.engine "fcfs"
    for now, list in ipairs { "admitted", "preempted", "rejected", "finished", "kv_copies", "kept" } do
      local step = engine:step(now)
      step[list][1], step.reasons.x = "x", list == "rejected" and "too long" or nil
      assert.are.equal(step, engine:step(now))
      assert.are.same({ {}, {} }, { step[list], step.reasons }, list)
    end
    engine:close()
  end)

  it("is empty, and needs no completion, when nothing can run", function()
    local engine = serve.engine "fcfs"
    local step = engine:step(0)
    assert.are.equal(0, step.num_rows)
    assert.is_nil(step.metadata)
    assert.is_true(engine:complete(step, 0))
    assert.is_true(engine:idle())
    engine:close()
  end)

  it("is padded to a size that graphs were captured at, rows too when they are uniform", function()
    local engine = serve.engine("fcfs", { capture_sizes = { 2, 4, 16 } }, { full_cuda_graph = true })
    for id = 1, 3 do engine:submit(request(id)) end
    local step = engine:step(0)
    assert.are.same({ "eager", 3, 30 }, { step.graph, step.padded_rows, step.padded_tokens })
    engine:complete(step, 0)
    step = engine:step(1)
    assert.are.same({ "full", 4, 4 }, { step.graph, step.padded_rows, step.padded_tokens })
    assert.are.equal(4, step.metadata.non_spec_state_indices_tensor.shape[1])
    engine:complete(step, 1)
    engine:submit(request(4, { prompt_tokens = 2 }))
    step = engine:step(2)
    assert.are.same({ "piecewise", 4, 16 }, { step.graph, step.padded_rows, step.padded_tokens })
    assert.are.equal(16, step.metadata.num_actual_tokens)
    engine:complete(step, 2)
    engine:close()
  end)

  it("that the builder refuses leaves every request where it stood", function()
    local engine = serve.engine("fcfs", nil, { num_speculative_tokens = 2 })
    engine:submit(request("a", { prompt_tokens = 3, max_tokens = 30 }))
    engine:complete(engine:step(0), 0)
    engine:complete(engine:step(1), 1, { a = { accepted_drafts = 1 } })
    engine:submit(request("b", { prompt_tokens = 100 }))
    local rows = engine.private.steps[1].rows
    local canary = rows.query_len[-1]
    rows.query_len[-1] = 0 -- what a stray index would do
    local step, message, code = engine:step(2)
    rows.query_len[-1] = canary
    assert.is_nil(step)
    assert.matches("^something wrote outside batch.query_len", message)
    assert.are.equal(-4, code)
    assert.are.same({ 5, 0 }, { engine:request("a").computed_tokens, engine:request("b").computed_tokens })
    step = assert(engine:step(3))
    assert.are.same({ "b" }, step.admitted) -- in the step that was not returned
    assert.are.same({ 3, 61, 2, 1 }, { step.query_len[0], step.query_len[1], step.last_accepted[0],
                                       step.read_column[0] })
    engine:complete(step, 3)
    serve.run(engine)
    assert.are.equal(2, engine.stats.finished)
    assert.are.equal(0, engine:slots().used)
    engine:close()
  end)

  it("is measured when there is a stopwatch, and reads no clock otherwise", function()
    local ticks = 0
    local engine = serve.engine("fcfs", { stopwatch = function()
      ticks = ticks + 1
      return ticks
    end })
    engine:submit(request(1))
    local step = engine:step(0)
    assert.are.same({ 1, 1, 4 }, { step.policy_seconds, step.build_seconds, ticks })
    engine:close()
    engine = serve.engine "fcfs"
    assert.is_nil(engine:step(0).policy_seconds)
    engine:close()
  end)

  it("goes on where the stopwatch returns no number, or fails, at any of its readings", function()
    local function fail() error {} end
    for _, bad in ipairs { function() end, function() return 0 / 0 end, function() return -math.huge end,
                           function() return "1" end, fail } do
      for reading = 1, 4 do
        local ticks = 0
        local engine = serve.engine("fcfs", { stopwatch = function()
          ticks = ticks + 1
          if ticks == reading then return bad() end
          return ticks
        end })
        engine:submit(request(1, { max_tokens = 2 }))
        local step = assert(engine:step(0))
        assert.are.same({ reading > 2 and 1 or nil, reading <= 2 and 1 or nil },
                        { step.policy_seconds, step.build_seconds })
        engine:complete(step, 0)
        step = engine:step(1)
        assert.are.same({ 1, 1 }, { step.policy_seconds, step.build_seconds })
        engine:complete(step, 1)
        assert.are.same({ true, 1, 0 }, { engine:idle(), engine.stats.finished, engine:slots().used })
        engine:close()
      end
    end
  end)

  it("wants a stream that is one, before anything is decided", function()
    local engine = serve.engine "fcfs"
    assert(engine:submit(request(1)))
    for shown, stream in pairs { ['"x"'] = "x", ["a table"] = {}, ["true"] = true, ["7"] = 7 } do
      assert.has_error(function() engine:step(0, stream) end,
                       ("gdnmeta.Engine:step: stream = %s, want nil or a pointer"):format(shown))
    end
    assert.are.equal(1, engine.stats.waiting)
    assert.are.same({ 1, 10 }, { engine:step(0).num_rows, engine:request(1).computed_tokens })
    engine:close()
  end)

  it("wants the time, a number", function()
    local engine = serve.engine "fcfs"
    for text, now in pairs { ["nil"] = false, ["nan"] = 0 / 0, inf = math.huge, ["-inf"] = -math.huge } do
      assert.has_error(function() engine:step(now or nil) end,
        ("gdnmeta.Engine:step: now = %s, want a finite number of seconds"):format(text))
      assert.has_error(function() engine:complete({}, now or nil) end,
        ("gdnmeta.Engine:complete: now = %s, want a finite number of seconds"):format(text))
    end
    assert.are.equal(0, engine.stats.steps)
    engine:close()
  end)
end)

describe("Engine:complete", function()
  local engine
  local function start(options, of_builder)
    engine = serve.engine("fcfs", options, of_builder or { num_speculative_tokens = 3 })
  end
  after_each(function() engine:close() end)

  -- Up to where request 1 has decoded its first token and may draft.
  local function first_decode()
    engine:submit(request(1, { prompt_tokens = 5, max_tokens = 20 }))
    engine:complete(engine:step(0), 0)
    local step = engine:step(1)
    assert.are.equal(3, step.drafts[0])
    return step
  end

  it("takes accepted drafts, stops and the next drafts from a table by id", function()
    start()
    engine:complete(first_decode(), 1, { [1] = { accepted_drafts = 2, next_drafts = 1 } })
    assert.are.equal(9, engine:request(1).known)
    assert.are.equal(8, engine:request(1).computed_tokens)
    local step = engine:step(2)
    assert.are.same({ 2, 1, 3 }, { step.query_len[0], step.drafts[0], step.metadata.num_accepted_tokens[0] })
    engine:complete(step, 2, { [1] = { accepted_drafts = 1, stop = true } })
    assert.are.same({ 1 }, step.finished)
    assert.are.equal(2, step.emitted[0])
    assert.are.equal(gdn.STOP, step.finish[0])
  end)

  it("takes them from the step's arrays", function()
    start()
    local step = first_decode()
    step.accepted_drafts[0], step.stop[0], step.next_drafts[0] = 3, 2, 0
    engine:complete(step, 1)
    assert.are.same({ 2, gdn.STOP }, { step.emitted[0], step.finish[0] })
    assert.are.same({ 1 }, step.finished)
    assert.are.equal(0, engine:slots().used)
  end)

  it("accepts nothing and stops nowhere unless told", function()
    start()
    local step = first_decode()
    engine:complete(step, 1, {})
    assert.are.equal(1, step.emitted[0])
    assert.are.equal(3, engine.stats.rejected_drafts)
  end)

  it("raises on what cannot have happened, and changes nothing", function()
    start()
    local step = first_decode()
    local function raises(message, results)
      assert.has_error(function() engine:complete(step, 1, results) end, "gdnmeta.Engine:complete: "
                       .. message)
    end
    raises("request 1: accepted_drafts = 4, want 0 .. 3", { [1] = { accepted_drafts = 4 } })
    raises("request 1: accepted_drafts = -1, want 0 .. 3", { [1] = { accepted_drafts = -1 } })
    raises("request 1: stop = 3, want 0 .. 2, its tokens of this step",
           { [1] = { accepted_drafts = 1, stop = 3 } })
    raises("request 1: next_drafts = 4, want 0 .. 3", { [1] = { next_drafts = 4 } })
    raises("results[1].accepted_drafts = 0.5, want an integer", { [1] = { accepted_drafts = 0.5 } })
    raises('results[1].accepted_drafts = "all", want an integer',
           { [1] = { accepted_drafts = "all", stop = true } })
    raises("results[1]: unknown field acepted, want one of accepted, accepted_drafts, blocks, drafts, "
           .. "next_drafts, stop, tokens", { [1] = { acepted = 1 } })
    raises("results[2]: the step has no such request", { [2] = {} })
    raises("results = 7, want a table or nil", 7)
    assert.are.equal(6, engine:request(1).known)
    assert.is_true(engine:complete(step, 1, { [1] = { accepted_drafts = 1 } }))
    assert.are.equal(8, engine:request(1).known)
  end)

  it("takes tokens for a count where there is no state cache", function()
    start({}, { num_speculative_tokens = 2 })
    engine:submit(request(1))
    assert.is_true(engine:complete(engine:step(0), 0, { [1] = { tokens = { 7 } } }))
    local step = engine:step(1)
    assert.is_true(engine:complete(step, 1, { [1] = { tokens = { 8, 9 } } }))
    assert.are.same({ 2, 3 }, { step.emitted[0], engine:request(1).emitted })
    assert.is_true(engine:verify())
  end)

  it("wants each step once, and one step at a time", function()
    start()
    local step = first_decode()
    local second, message, code = engine:step(2)
    assert.is_nil(second)
    assert.are.equal("step 2 is in flight, complete it first", message)
    assert.are.equal(ECAP, code)
    engine:complete(step, 2)
    assert.has_error(function() engine:complete(step, 3) end,
                     "gdnmeta.Engine:complete: step 2 is not in flight")
    assert.has_error(function() engine:complete({}, 3) end,
                     "gdnmeta.Engine:complete: step = a table, want a step of this engine")
  end)

  it("ends a request at max_tokens and at max_model_len", function()
    start({ max_model_len = 12 }, { num_speculative_tokens = 3 })
    engine:submit(request("long", { prompt_tokens = 4, max_tokens = 100 }))
    engine:submit(request("short", { prompt_tokens = 4, max_tokens = 3 }))
    local emitted = { long = 0, short = 0 }
    while not engine:idle() do
      local step = engine:step(0)
      for row = 0, step.num_rows - 1 do step.accepted_drafts[row] = math.max(step.drafts[row], 0) end
      engine:complete(step, 0)
      for row = 0, step.num_rows - 1 do
        emitted[step:id(row)] = emitted[step:id(row)] + step.emitted[row]
        if step.finish[row] > 0 then assert.are.equal(gdn.LENGTH, step.finish[row]) end
      end
    end
    assert.are.same({ long = 8, short = 3 }, emitted)
  end)
end)
