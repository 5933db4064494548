local gdn = require "gdnmeta"
local serve = require "spec.support.serve"

local ECAP, EINVAL = -3, -1

local function builder(options)
  local b = { device = "cpu", max_num_seqs = 4, max_num_batched_tokens = 64, max_requests = 8 }
  for name, value in pairs(options or {}) do b[name] = value end
  return assert(gdn.builder(b))
end

local function request(id, fields)
  local r = { id = id, prompt_tokens = 10, max_tokens = 4, arrival = 0 }
  for name, value in pairs(fields or {}) do r[name] = value end
  return r
end

describe("gdnmeta.engine", function()
  local function raises(message, options)
    assert.has_error(function() gdn.engine(options) end, "gdnmeta.engine: " .. message)
  end

  it("accepts a strict builder only", function()
    raises("builder: want a gdnmeta builder", {})
    raises("builder rules = vllm-2026-04, want strict", { builder = builder { rules = "vllm-2026-04" } })
    raises("builder rules = vllm-2026-08, want strict", { builder = builder { rules = "vllm-2026-08" } })
    local closed = builder()
    closed:close()
    raises("builder is closed", { builder = closed })
  end)

  it("names a wrong option, its value and what was wanted", function()
    local b = builder()
    raises("unknown option polciy", { builder = b, polciy = "fcfs" })
    raises("max_num_seqs = 0, want an integer in 1 .. 65536", { builder = b, max_num_seqs = 0 })
    raises("max_num_seqs = 9, want at most 4 (the builder's rows and requests)",
           { builder = b, max_num_seqs = 9 })
    raises("max_num_batched_tokens = 65, want at most 64 (the builder's)",
           { builder = b, max_num_batched_tokens = 65 })
    raises("max_num_batched_tokens = 3, want at least 4 (max_num_seqs)",
           { builder = b, max_num_batched_tokens = 3 })
    raises("drafts = 1, want at most 0 (num_speculative_tokens)", { builder = b, drafts = 1 })
    raises("async on the CPU wants second_builder", { builder = b, async = true })
    raises("second_builder is for async = true on the CPU", { builder = b, second_builder = builder() })
    raises("second_builder has max_rows = 9, want 4 as in builder",
           { builder = b, async = true, second_builder = builder { max_rows = 9 } })
    raises("long_prefill_token_threshold wants chunked_prefill",
           { builder = b, chunked_prefill = false, long_prefill_token_threshold = 5 })
    raises('on_policy_error = "panic", want "fallback" or "raise"',
           { builder = b, on_policy_error = "panic" })
    raises('mamba_cache_mode = "all", want "none" or "align"',
           { builder = builder { mamba_cache_mode = "all" } })
    raises("num_slots of group 0 = 4, want at least 5",
           { builder = builder { num_slots = 4, num_speculative_tokens = 3 } })
  end)

  it("checks what mode align needs to go on", function()
    local function align(options)
      local o = { mamba_cache_mode = "align", mamba_block_size = 16, max_blocks_per_row = 8, num_slots = 40 }
      for name, value in pairs(options or {}) do o[name] = value end
      return builder(o)
    end
    raises("max_model_len = 200, want at most 129 (max_blocks_per_row)",
           { builder = align(), max_model_len = 200 })
    raises("max_num_batched_tokens = 15, want at least 16 (mamba_block_size)",
           { builder = align(), max_num_batched_tokens = 15 })
    raises("long_prefill_token_threshold = 9, want at least 16 (mamba_block_size)",
           { builder = align(), long_prefill_token_threshold = 9 })
    raises("num_slots of group 0 = 2, want at least 3", { builder = align { num_slots = 2 } })
    local engine = gdn.engine { builder = align() }
    assert.are.equal(128, engine.sizing.max_model_len)
    engine:close()
  end)

  it("returns nil and the reason when the policy cannot be had", function()
    local engine, message = gdn.engine { builder = builder(), policy = "no_such" }
    assert.is_nil(engine)
    assert.matches('^no policy "no_such"', message)
  end)

  it("has its builder for itself, until it is closed", function()
    local b = builder()
    local engine = gdn.engine { builder = b }
    raises("builder belongs to another engine, close that first", { builder = b })
    engine:close()
    engine:close()
    assert.has_error(function() engine:step(0) end, "gdnmeta.Engine: closed")
    assert.are.equal("gdnmeta.Engine(policy=fcfs, 0 running, 0 waiting, 0 in flight, closed)",
                     tostring(engine))
    gdn.engine({ builder = b }):close()
  end)

  it("captures the usual sizes, a list or none", function()
    local function sizes(options, of_builder)
      options.builder = builder(of_builder)
      local engine = gdn.engine(options)
      local list = engine.options.capture_sizes
      engine:close()
      return list
    end
    assert.are.same({}, sizes {})
    assert.are.same({ 1, 2, 4, 8 }, sizes({}, { full_cuda_graph = true }))
    assert.are.same({ 3, 6, 9, 18, 24 }, sizes({}, { full_cuda_graph = true, num_speculative_tokens = 2 }))
    assert.are.same({ 1, 2, 4, 8, 16 }, sizes({}, { full_cuda_graph = true,
                                                    max_cudagraph_capture_size = 20 }))
    assert.are.same({ 5, 9 }, sizes { capture_sizes = { 5, 9 } })
    assert.are.same({}, sizes({ capture_sizes = false }, { full_cuda_graph = true }))
  end)

  it("has 51 usual sizes for 256 requests, and 49 with 2 or 3 drafts", function()
    local usual = require("gdnmeta.engine.sizes").usual
    local plain, two, three = usual(256, 0, 8192), usual(256, 2, 8192), usual(256, 3, 8192)
    assert.are.same({ 51, 49, 49 }, { #plain, #two, #three })
    assert.are.same({ 512, 498, 512 }, { plain[51], two[49], three[49] })
    assert.are.same({ 3, 6, 9, 18, 24, 33 }, { unpack(two, 1, 6) })
  end)
end)

describe("Engine:submit", function()
  local engine
  before_each(function()
    engine = serve.engine("fcfs", { kv_tokens = 640, kv_block_size = 16, max_model_len = 1000 })
  end)
  after_each(function() engine:close() end)

  it("raises for what is no request", function()
    local function raises(message, given)
      assert.has_error(function() engine:submit(given) end, "gdnmeta.Engine:submit: " .. message)
    end
    raises("want a table, got 7", 7)
    raises("unknown field prompt", { id = 1, prompt = 3 })
    raises("prompt_tokens = 0, want an integer >= 1", request(1, { prompt_tokens = 0 }))
    raises("weight = 0, want a number above 0", request(1, { weight = 0 }))
    raises("id = nil, want a number or a string", { prompt_tokens = 1, max_tokens = 1 })
    raises("arrival = nan, want a number of seconds", request(1, { arrival = 0 / 0 }))
  end)

  it("refuses what could never run", function()
    local function refuses(message, code, given)
      local ok, why, got = engine:submit(given)
      assert.is_nil(ok)
      assert.are.equal(message, why)
      assert.are.equal(code, got)
    end
    refuses("request 1: prompt_tokens = 1000, want at most 999 (max_model_len - 1)", ECAP,
            request(1, { prompt_tokens = 1000 }))
    refuses("request 1: needs 41 blocks of attention cache, want at most 40", ECAP,
            request(1, { prompt_tokens = 600, max_tokens = 42 }))
    assert.is_true(engine:submit(request(1, { prompt_tokens = 600, max_tokens = 41 })))
    refuses("id 1 is in use", EINVAL, request(1))
    refuses("request 2: checkpoint wants mamba_cache_mode align", EINVAL,
            request(2, { checkpoint = { tokens = 16 } }))
    assert.are.equal(1, engine.stats.arrived)
  end)

  it("shows a request as it stands", function()
    engine:submit(request("a", { user = "ada", arrival = 3, ttft = 2 }))
    local shown = engine:request "a"
    assert.are.same({ "waiting", "ada", "", 10, 4, 10, 0, 0, 5 },
                    { shown.state, shown.user, shown.class, shown.prompt, shown.max_tokens, shown.known,
                      shown.computed,
                      shown.emitted, shown.deadline })
    engine:complete(engine:step(4), nil, 4)
    shown = engine:request "a"
    assert.are.same({ "running", 11, 10, 1 }, { shown.state, shown.known, shown.computed, shown.emitted })
    assert.is_nil(engine:request "b")
  end)
end)

describe("A step", function()
  it("has its rows as arrays, decodes first, and its news as lists", function()
    local engine = serve.engine("decode_first")
    engine:submit(request("a", { prompt_tokens = 6 }))
    engine:complete(engine:step(0), nil, 0)
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

  it("is empty, and needs no completion, when nothing can run", function()
    local engine = serve.engine "fcfs"
    local step = engine:step(0)
    assert.are.equal(0, step.num_rows)
    assert.is_nil(step.metadata)
    assert.is_true(engine:complete(step, nil, 0))
    assert.is_true(engine:idle())
    engine:close()
  end)

  it("is padded to a size that graphs were captured at, rows too when they are uniform", function()
    local engine = serve.engine("fcfs", { capture_sizes = { 2, 4, 16 } }, { full_cuda_graph = true })
    for id = 1, 3 do engine:submit(request(id)) end
    local step = engine:step(0)
    assert.are.same({ "eager", 3, 30 }, { step.graph, step.padded_rows, step.padded_tokens })
    engine:complete(step, nil, 0)
    step = engine:step(1)
    assert.are.same({ "full", 4, 4 }, { step.graph, step.padded_rows, step.padded_tokens })
    assert.are.equal(4, step.metadata.non_spec_state_indices_tensor.shape[1])
    engine:complete(step, nil, 1)
    engine:submit(request(4, { prompt_tokens = 2 }))
    step = engine:step(2)
    assert.are.same({ "piecewise", 4, 16 }, { step.graph, step.padded_rows, step.padded_tokens })
    assert.are.equal(16, step.metadata.num_actual_tokens)
    engine:complete(step, nil, 2)
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

  it("wants the time, a number", function()
    local engine = serve.engine "fcfs"
    assert.has_error(function() engine:step() end, "gdnmeta.Engine:step: now = nil, want a number of seconds")
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
    engine:complete(engine:step(0), nil, 0)
    local step = engine:step(1)
    assert.are.equal(3, step.drafts[0])
    return step
  end

  it("takes accepted drafts, stops and the next drafts from a table by id", function()
    start()
    engine:complete(first_decode(), { [1] = { accepted = 2, drafts = 1 } }, 1)
    assert.are.equal(9, engine:request(1).known)
    assert.are.equal(8, engine:request(1).computed)
    local step = engine:step(2)
    assert.are.same({ 2, 1, 3 }, { step.query_len[0], step.drafts[0], step.metadata.num_accepted_tokens[0] })
    engine:complete(step, { [1] = { accepted = 1, stop = true } }, 2)
    assert.are.same({ 1 }, step.finished)
    assert.are.equal(2, step.emitted[0])
    assert.are.equal(1, step.finish[0])
  end)

  it("takes them from the step's arrays", function()
    start()
    local step = first_decode()
    step.accepted[0], step.stop[0], step.next_drafts[0] = 3, 2, 0
    engine:complete(step, nil, 1)
    assert.are.same({ 2, 1 }, { step.emitted[0], step.finish[0] })
    assert.are.same({ 1 }, step.finished)
    assert.are.equal(0, engine:slots().used)
  end)

  it("accepts nothing and stops nowhere unless told", function()
    start()
    local step = first_decode()
    engine:complete(step, {}, 1)
    assert.are.equal(1, step.emitted[0])
    assert.are.equal(3, engine.stats.rejected_drafts)
  end)

  it("raises on what cannot have happened, and changes nothing", function()
    start()
    local step = first_decode()
    local function raises(message, results)
      assert.has_error(function() engine:complete(step, results, 1) end, "gdnmeta.Engine:complete: "
                       .. message)
    end
    raises("request 1: accepted = 4, want 0 .. 3", { [1] = { accepted = 4 } })
    raises("request 1: accepted = -1, want 0 .. 3", { [1] = { accepted = -1 } })
    raises("request 1: stop = 3, want 0 .. 2, its tokens of this step", { [1] = { accepted = 1, stop = 3 } })
    raises("request 1: drafts = 4, want 0 .. 3", { [1] = { drafts = 4 } })
    raises("results[1].accepted = 0.5, want an integer", { [1] = { accepted = 0.5 } })
    raises("results[1]: unknown field acepted", { [1] = { acepted = 1 } })
    raises("results[2]: the step has no such request", { [2] = {} })
    raises("results = 7, want a table or nil", 7)
    assert.are.equal(6, engine:request(1).known)
    assert.is_true(engine:complete(step, { [1] = { accepted = 1 } }, 1))
    assert.are.equal(8, engine:request(1).known)
  end)

  it("wants each step once, and one step at a time", function()
    start()
    local step = first_decode()
    local second, message, code = engine:step(2)
    assert.is_nil(second)
    assert.are.equal("step 2 is in flight, complete it first", message)
    assert.are.equal(ECAP, code)
    engine:complete(step, nil, 2)
    assert.has_error(function() engine:complete(step, nil, 3) end,
                     "gdnmeta.Engine:complete: step 2 is not in flight")
    assert.has_error(function() engine:complete({}, nil, 3) end,
                     "gdnmeta.Engine:complete: step = a table, want a step of this engine")
  end)

  it("ends a request at max_tokens and at max_model_len", function()
    start({ max_model_len = 12 }, { num_speculative_tokens = 3 })
    engine:submit(request("long", { prompt_tokens = 4, max_tokens = 100 }))
    engine:submit(request("short", { prompt_tokens = 4, max_tokens = 3 }))
    local emitted = { long = 0, short = 0 }
    while not engine:idle() do
      local step = engine:step(0)
      for row = 0, step.num_rows - 1 do step.accepted[row] = math.max(step.drafts[row], 0) end
      engine:complete(step, nil, 0)
      for row = 0, step.num_rows - 1 do
        emitted[step:id(row)] = emitted[step:id(row)] + step.emitted[row]
        if step.finish[row] > 0 then assert.are.equal(2, step.finish[row]) end
      end
    end
    assert.are.same({ long = 8, short = 3 }, emitted)
  end)
end)

describe("Speculation", function()
  it("marks a decode without drafts as a speculative row beside one that has some", function()
    local engine = serve.engine("fcfs", nil, { num_speculative_tokens = 2 })
    engine:submit(request(1, { max_tokens = 20 }))
    engine:submit(request(2, { max_tokens = 20 }))
    engine:complete(engine:step(0), { [1] = { drafts = 2 }, [2] = { drafts = 0 } }, 0)
    local step = engine:step(1)
    assert.are.same({ 2, 0 }, { step.drafts[0], step.drafts[1] })
    assert.are.equal(2, step.metadata.num_spec_decodes)
    engine:complete(step, { [1] = { accepted = 2, drafts = 0 }, [2] = { drafts = 0 } }, 1)
    step = engine:step(2) -- nobody drafts: a plain step, which reads where the speculative one wrote
    assert.are.same({ -1, -1 }, { step.drafts[0], step.drafts[1] })
    assert.are.equal(0, step.metadata.num_spec_decodes)
    assert.are.same({ 2, 0 }, { step.read_column[0], step.read_column[1] })
    assert.are.same({ 2, 0 }, step.metadata.non_spec_conv_shift:totable())
    engine:close()
  end)
end)

describe("Preemption", function()
  it("recomputes short stretches behind the decodes and before the extends", function()
    -- 4 rows: a decode, a stretch of 2 known tokens computed again, a short extend and a first chunk.
    local engine = serve.engine("decode_first", { max_num_batched_tokens = 64,
                                                  long_prefill_token_threshold = 8 },
                                { num_speculative_tokens = 2 })
    engine:submit(request("again", { prompt_tokens = 8, max_tokens = 9 }))
    for now = 0, 2 do engine:complete(engine:step(now), { again = { drafts = 0 } }, now) end
    assert(engine:set_policy(function(view, plan) for i in view:running() do plan:preempt(i) end end))
    assert.are.same({ "again" }, engine:step(3).preempted)
    assert(engine:set_policy "decode_first")
    engine:submit(request("decode", { prompt_tokens = 1, max_tokens = 9 }))
    engine:submit(request("extend", { prompt_tokens = 10 }))
    engine:complete(engine:step(4), { decode = { drafts = 0 } }, 4) -- again 8 of 11, decode 1, extend 8 of 10
    engine:submit(request("fresh", { prompt_tokens = 3 }))
    local step, order = engine:step(5), {}
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
    local pools, lib = engine.states.pools, require "gdnmeta.native"
    local step
    repeat
      step = engine:step(0)
      engine:complete(step, nil, 0)
    until #step.preempted > 0
    assert.are.same({ 2 }, step.preempted)
    assert.are.equal(1, lib.gdn_slots_generation(pools, 0, 2))
    local shown = engine:request(2)
    assert.are.same({ "waiting", 0, 0, 1 }, { shown.state, shown.computed, shown.drafts, shown.preemptions })
    assert.are.equal(1, engine:slots().used)
    local seen = serve.run(engine)
    assert.are.equal(1, engine.stats.preemptions)
    assert.is_true(engine.stats.discarded >= 30)
    assert.is_true(seen.finished[1] ~= nil and seen.finished[2] ~= nil)
    assert.are.same({ 5, 5, 0 }, { engine:kv().size, engine:kv().free, engine:kv().used })
    engine:close()
  end)
end)

describe("Engine:cancel", function()
  it("takes a waiting or running request out, and knows no other", function()
    local engine = serve.engine("fcfs", nil, { max_num_seqs = 1 })
    engine:submit(request(1))
    engine:submit(request(2))
    engine:complete(engine:step(0), nil, 0)
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
    engine:complete(step, nil, 0)
    assert.are.equal(0, engine:slots().used)
    assert.are.equal(0, step.emitted[0])
    assert.are.equal(3, engine:request(1).prompt)
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

  it("start a request behind the text that it shares", function()
    engine:submit(request(1, { prompt_tokens = 70 }))
    engine:complete(engine:step(0), nil, 0) -- 64 tokens: the last whole block
    local checkpoint = assert(engine:checkpoint(1))
    assert.are.equal(64, checkpoint.tokens)
    assert.are.equal(2, #checkpoint.slots)
    serve.run(engine)
    assert.are.equal(2, engine:slots().used) -- the pinned state, one slot a group
    engine:submit(request(2, { prompt_tokens = 70, checkpoint = checkpoint }))
    engine:release(checkpoint)
    assert.has_error(function() engine:release(checkpoint) end,
                     "gdnmeta.Engine:release: no checkpoint, or released before")
    local step = engine:step(0)
    assert.are.same({ 6, 70, 3 }, { step.query_len[0], step.seq_len[0], step.read_column[0] })
    assert.are.equal(checkpoint.slots[1], step.metadata.non_spec_read_state_indices[0])
    assert.are.equal(checkpoint.slots[2], step.metadata:group(1).non_spec_read_state_indices[0])
    assert.is_true(step.metadata.has_initial_state[0])
    engine:complete(step, nil, 0)
    serve.run(engine)
    assert.are.equal(0, engine:slots().used)
    local ok, message = engine:submit(request(3, { prompt_tokens = 70, checkpoint = checkpoint }))
    assert.is_nil(ok)
    assert.matches("checkpoint.slots%[1%] = %d+, want a slot that is still held", message)
  end)

  it("exist only where a request stands on a block boundary", function()
    engine:submit(request(1, { prompt_tokens = 20 }))
    assert.are.equal("request 1 stands at 0 tokens, want the end of a prompt chunk on a multiple of 16",
                     select(2, engine:checkpoint(1)))
    engine:complete(engine:step(0), nil, 0)
    engine:complete(engine:step(0), nil, 0)
    assert.is_nil(engine:checkpoint(1))
    assert.are.equal("no request 9", select(2, engine:checkpoint(9)))
  end)
end)

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
    assert.has_error(function() engine:complete(second, nil, 2) end,
                     "gdnmeta.Engine:complete: step 2 is in flight behind step 1")
    engine:complete(first, nil, 2)
    engine:complete(second, nil, 3)
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
    engine:complete(first, { [1] = { stop = true } }, 1)
    assert.are.same({ 1 }, first.finished)
    assert.are.equal(1, engine:slots().used)
    engine:complete(second, nil, 2)
    assert.are.equal(0, second.emitted[0])
    assert.are.same({ 1, 1, 0 }, { engine.stats.wasted_rows, engine.stats.wasted_tokens,
                                   engine:slots().used })
    engine:close()
  end)

  it("schedule nobody whom the steps in flight may bring to the end", function()
    local engine = async()
    engine:submit(request(1, { max_tokens = 2 }))
    local first, second = engine:step(0), engine:step(0)
    assert.are.equal(1, second.num_rows)
    engine:complete(first, nil, 0)
    assert.are.equal(0, engine:step(0).num_rows)
    engine:complete(second, nil, 0)
    assert.are.same({ 1 }, second.finished)
    assert.are.equal(0, engine.stats.wasted_rows)
    engine:close()
  end)

  it("are built again when drafts are rejected that the later one counted on", function()
    local engine = async(nil, { num_speculative_tokens = 3 })
    engine:submit(request(1, { max_tokens = 50 }))
    engine:complete(engine:step(0), nil, 0)
    local first, second = engine:step(1), engine:step(2)
    assert.are.same({ 14, 18 }, { first.seq_len[0], second.seq_len[0] })
    engine:complete(first, { [1] = { accepted = 1 } }, 3)
    assert.are.equal(16, second.seq_len[0])
    assert.are.equal(2, second.metadata.num_accepted_tokens[0])
    assert.are.equal(1, second.read_column[0])
    engine:complete(second, { [1] = { accepted = 3 } }, 4)
    assert.are.same({ 17, 16 }, { engine:request(1).known, engine:request(1).computed })
    engine:close()
  end)
end)

describe("Numbers of requests", function()
  it("are reused, so that memory stays flat", function()
    local engine = serve.engine "fcfs"
    local seen = serve.run(engine, function(now)
      if now < 500 then
        engine:submit(request("request " .. now, { user = "user " .. now, prompt_tokens = 3 }))
      end
    end)
    assert.is_true(seen.steps >= 500)
    assert.is_true(engine.requests.used < 600)
    assert.is_nil(next(engine.requests.index))
    assert.is_nil(next(engine.requests.id))
    assert.is_nil(next(engine.users.number))
    engine:close()
  end)
end)
