-- Every public function, called wrongly: what it raises stands at its caller's line, and so does what a
-- policy's code does wrong. The words are other specs' matter.
local drivers = require "spec.support.driver"
local gdn = require "gdnmeta"
local serve = require "spec.support.run_engine"
local stands = require "spec.support.stands"

describe("A mistake is raised at the caller's line", function()
  local path, engine, builder, step
  before_each(function()
    path = os.tmpname()
    engine = serve.engine "fcfs"
    builder = serve.builder()
    assert(engine:submit(serve.request(1)))
    step = assert(engine:step(0))
  end)
  after_each(function()
    engine:close()
    os.remove(path)
  end)

  it("by a worker", function()
    local function model() return { run = function() end } end
    stands("gdnmeta.worker: ", function() gdn.worker(5) end)
    stands("gdnmeta.worker: unknown", function() gdn.worker { engin = engine } end)
    stands("gdnmeta.worker: want one of", function() gdn.worker { engine = engine } end)
    local worker = assert(gdn.worker { engine = engine, model = model })
    stands("gdnmeta.Worker: no field", function() return worker.nope end)
    stands("gdnmeta.Worker: read-only, cannot set", function() worker.tokens = 1 end)
    stands("gdnmeta.Worker:submit: call it", function() worker.submit(step) end)
    stands("gdnmeta.Worker:submit: step", function() worker:submit(5) end)
    stands("gdnmeta.Worker:submit: step", function() worker:submit(setmetatable({}, getmetatable(step))) end)
    stands("gdnmeta.Worker:submit: now", function() worker:submit(step, nil, nil, "x") end)
    stands("gdnmeta.Worker:poll: call it", function() worker.poll() end)
    stands("gdnmeta.Worker:poll: now", function() worker:poll "x" end)
    stands("gdnmeta.Worker:restart: now", function() worker:restart "x" end)
    stands("gdnmeta.Worker:ready: call it", function() worker.ready() end)
    stands("gdnmeta.Worker:close: call it", function() worker.close() end)
    worker:close()
    stands("gdnmeta.Worker: closed", function() worker:poll() end)
    stands("gdnmeta.Worker: closed", function() worker:ready() end)
  end)

  it("by an engine", function()
    stands("gdnmeta.engine: builder: want", function() gdn.engine {} end)
    stands("gdnmeta.engine: want a table", function() gdn.engine(5) end)
    stands("gdnmeta.engine: unknown option", function() gdn.engine { bulder = 1 } end)
    stands("gdnmeta.Engine:submit: want a table", function() engine:submit(5) end)
    stands("gdnmeta.Engine:submit: ", function() engine:submit { id = 7, prompt_tokens = 1 } end)
    stands("gdnmeta.Engine:submit: unknown", function() engine:submit { nope = 1 } end)
    stands("gdnmeta.Engine:step: now", function() engine:step "x" end)
    stands("gdnmeta.Engine:step: now", function() engine:step(0 / 0) end)
    stands("gdnmeta.Engine:step: stream", function() engine:step(1, "x") end)
    stands("gdnmeta.Engine:complete: now", function() engine:complete(step, 1 / 0) end)
    stands("gdnmeta.Engine:complete: step = 5", function() engine:complete(5, 1) end)
    stands("gdnmeta.Engine:complete: step = a table", function() engine:complete({}, 1) end)
    local others = serve.engine "fcfs"
    local fakes = { setmetatable({}, { __index = error }), setmetatable({}, getmetatable(step)) }
    for _, stranger in ipairs { { num_rows = 0 }, others:step(0), others, step.batch, unpack(fakes) } do
      stands("gdnmeta.Engine:complete: step = a ", function() engine:complete(stranger, 1) end)
    end
    others:close()
    stands("gdnmeta.Engine:complete: results", function() engine:complete(step, 1, 5) end)
    stands("gdnmeta.Engine:complete: results[2]", function() engine:complete(step, 1, { [2] = {} }) end)
    local results = { { accepted_drafts = 9 } }
    stands("gdnmeta.Engine:complete: request 1", function() engine:complete(step, 1, results) end)
    stands("gdnmeta.Engine:set_policy: call it", function() engine.set_policy("fcfs") end)
    stands("gdnmeta.Engine:release: want what checkpoint()", function() engine:release(5) end)
    stands("gdnmeta.Engine:release: want what checkpoint()", function() engine:release() end)
    stands("gdnmeta.Engine:fork: want a table", function() engine:fork(1, 5) end)
    stands("gdnmeta.Engine:fork: unknown", function() engine:fork(1, { nope = 1 }) end)
    stands("gdnmeta.Engine:receive: tokens", function() engine:receive(0) end)
    stands("gdnmeta.Engine:idle_step: rows", function() engine:idle_step(0, 1) end)
    stands("gdnmeta.Engine:idle_step: tokens", function() engine:idle_step(1, 0) end)
    stands("gdnmeta.Engine:idle_step: stream", function() engine:idle_step(1, 1, 7) end)
    for _, method in ipairs { "pin", "unpin", "session" } do
      stands(("gdnmeta.Engine:%s: session"):format(method), function() engine[method](engine, {}) end)
    end
    stands("gdnmeta.Engine:record: path", function() engine:record(5) end)
    stands("gdnmeta.Engine:record: unknown", function() engine:record(path, { bytes = 1 }) end)
    stands("gdnmeta.Step:id: row = -1", function() step:id(-1) end)
    stands("gdnmeta.Step:id: row = 1", function() step:id(1) end)
    stands("gdnmeta.Batch:close: the batch belongs", function() engine.private.steps[1].batch:close() end)
    assert(engine:complete(step, 1))
    stands("gdnmeta.Engine:complete: step 1 is not", function() engine:complete(step, 1) end)
  end)

  it("by an engine that is closed, or whose builder is, or whose policy's file is gone", function()
    local file = path .. ".lua"
    local out = assert(io.open(file, "w"))
    out:write "return { chunk = 7 }"
    out:close()
    assert(engine:set_policy(file))
    os.remove(file)
    stands("gdnmeta.Engine:policy_reset: policy", function() engine:policy_reset() end)
    local metrics = assert(gdn.metrics(engine))
    engine:close()
    for _, method in ipairs { "submit", "step", "complete", "cancel", "idle", "slots", "kv", "request",
                              "checkpoint", "failures", "set_policy", "policy_reset", "record",
                              "set_cache", "cached", "lose_states" } do
      stands("gdnmeta.Engine: closed", function() engine[method](engine) end)
    end
    stands("gdnmeta.Engine: closed", function() metrics:text() end)
    stands("gdnmeta.Engine: closed", function() gdn.metrics(engine) end)
    local late = {}
    local forked = serve.engine "fcfs"
    setmetatable(late, { __index = function(_, name)
      forked:close()
      return name == "id" and 7 or nil
    end })
    assert(forked:submit(serve.request(1)))
    stands("gdnmeta.Engine: closed", function() forked:fork(1, late) end)
    late = {}
    local other = serve.engine "fcfs"
    setmetatable(late, { __index = function() other:close() end })
    stands("gdnmeta.Engine: closed", function() gdn.metrics(other, late) end)
    local recorded = serve.engine "fcfs"
    late = setmetatable({}, { __index = function() recorded:close() end })
    stands("gdnmeta.Engine: closed", function() recorded:record(path, late) end)
  end)

  it("by an engine with two steps in flight", function()
    local async = serve.engine("fcfs", { async = true, second_builder = serve.builder() })
    assert(async:submit(serve.request(1)))
    assert(async:submit(serve.request(2, { prompt_tokens = 100 })))
    assert(async:step(0))
    local second = assert(async:step(0))
    stands("gdnmeta.Engine:complete: step 2 is in", function() async:complete(second, 1) end)
    async:close()
  end)

  it("by metrics, policies, recordings and the library", function()
    local metrics = assert(gdn.metrics(engine))
    stands('gdnmeta.Metrics: no field', function() return metrics.txt end)
    stands('gdnmeta.Metrics: read-only', function() metrics.text = 1 end)
    stands("gdnmeta.Metrics:text: call it", function() metrics.text() end)
    stands("gdnmeta.metrics: want an engine", function() gdn.metrics(5) end)
    stands("gdnmeta.metrics: want an engine", function() gdn.metrics {} end)
    stands("gdnmeta.metrics: ", function() gdn.metrics(engine, { nope = 1 }) end)
    stands("gdnmeta.policy: options = 5, want a table", function() gdn.policy("fcfs", 5) end)
    stands("gdnmeta.policy: unknown option", function() gdn.policy("fcfs", { nope = 1 }) end)
    stands("gdnmeta.policy: name = 5", function() gdn.policy("fcfs", { name = 5 }) end)
    stands("gdnmeta.policy: source is given", function() gdn.policy("fcfs", { source = "return {}" }) end)
    stands("gdnmeta.policy: true", function() gdn.policy(true) end)
    stands("gdnmeta.policy: unknown field", function() gdn.policy { nope = 1 } end)
    stands("gdnmeta.record.open: path", function() gdn.record.open(5) end)
    stands("gdnmeta.record.open: max_memory = 0", function() gdn.record.open(path, 0) end)
    stands("gdnmeta.reorder: inputs", function() gdn.reorder(5) end)
    stands("gdnmeta.reorder: unknown", function() gdn.reorder { nope = 1 } end)
    stands('gdnmeta: no field', function() return gdn.bilder end)
    metrics:close()
  end)

  it("by the simulator", function()
    local sim = gdn.sim
    stands("sim.run: unknown option", function() sim.run { nope = 1 } end)
    stands("sim.sweep: unknown option", function() sim.sweep { nope = 1 } end)
    for _, wrong in ipairs { 5, {}, { 5 }, { {} }, { {}, {} } } do
      stands("gdnmeta.sim.report: runs = ", function() sim.report(wrong) end)
      stands("gdnmeta.sim.compare: runs = ", function() sim.compare(wrong) end)
      stands("gdnmeta.sim.fit: path = ", function() sim.fit(type(wrong) == "table" and wrong) end)
    end
    stands("gdnmeta.sim: no field", function() return sim.nope end)
  end)

  it("by a builder, its batches and what it built", function()
    local batch, other = builder:batch(), serve.builder()
    local rows = batch.max_rows
    stands("gdnmeta.builder: unknown option", function() gdn.builder { bulder = 1 } end)
    stands("gdnmeta.builder_bytes: unknown option", function() gdn.builder_bytes { bulder = 1 } end)
    stands("gdnmeta.Builder:build: batch", function() builder:build(3) end)
    stands("gdnmeta.Builder:build: stream", function() builder:build(batch, "x") end)
    stands("gdnmeta.Builder:build: the batch belongs", function() other:build(batch) end)
    stands("gdnmeta.Builder:build_raw: inputs", function() builder:build_raw(5) end)
    stands("gdnmeta.Builder:build_raw: stream", function() builder:build_raw({}, "x") end)
    stands("gdnmeta.Builder:build_raw: unknown", function() builder:build_raw { nope = 1 } end)
    stands("gdnmeta.Builder:capture: inputs", function() builder:capture(5) end)
    stands("gdnmeta.Builder:capture: stream", function() builder:capture({}, {}) end)
    local pool = { pool = 3, slot_bytes = 1, channels = 1, length = 1, element_bytes = 1 }
    stands("gdnmeta.Builder:bring_states: unknown", function() builder:bring_states(pool) end)
    stands("gdnmeta.Builder:bring_windows: unknown", function() builder:bring_windows(pool) end)
    stands("gdnmeta.Builder:check: stream", function() builder:check "x" end)
    stands("gdnmeta.Builder:table: group", function() builder:table(1) end)
    stands("gdnmeta.Builder:set_blocks: group", function() builder:set_blocks(1, 0, {}) end)
    stands("gdnmeta.Builder:borrow_table: group", function() builder:borrow_table(1) end)
    stands("gdnmeta.Builder:borrow_device_table: group", function() builder:borrow_device_table(1) end)
    for _, method in ipairs { "borrow_device_accepted", "borrow_device_seq_lens" } do
      stands(("gdnmeta.Builder:%s: "):format(method), function() builder[method](builder, path, 0) end)
    end
    stands("gdnmeta.Batch:push: table_row", function() batch:push(nil, 1, 9, true) end)
    stands("gdnmeta.Batch:push: ", function() batch:push(0, "x", 9, true) end)
    stands("gdnmeta.Batch:add: row", function() batch:add(5) end)
    local row, unknown = { query_len = 1, seq_len = 1, blocks = 5 }, { table_row = 0 }
    stands("gdnmeta.Batch:add: blocks", function() batch:add(row) end)
    stands("gdnmeta.Batch:add: unknown", function() batch:add(unknown) end)
    stands("gdnmeta.Batch:pad: rows", function() batch:pad(-1, 0) end)
    stands("gdnmeta.Batch:pad: tokens", function() batch:pad(0, -1) end)
    stands("gdnmeta.Batch:index: the builder's device", function() batch:index(0, 0) end)
    stands("gdnmeta.Batch: no field", function() return batch.nope end)
    stands("gdnmeta.Batch: read-only", function() batch.num_rows = 0 end)
    batch.rows.num_rows = rows + 1
    stands("gdnmeta.Batch:pad: num_rows", function() batch:pad(1, 1) end)
    batch:clear()
    batch:push(0, 1, 9, true)
    builder:table(0)[0] = 7
    local meta = assert(builder:build(batch))
    local tensor = meta.non_spec_query_start_loc
    stands("gdnmeta.Metadata:group: group", function() meta:group(1) end)
    stands("gdnmeta.Metadata: no field", function() return meta.nope end)
    stands("gdnmeta.Metadata: read-only", function() meta.num_rows = 1 end)
    stands("gdnmeta.Tensor: index", function() return tensor[2] end)
    stands("gdnmeta.Tensor: no field", function() return tensor.nope end)
    stands("gdnmeta.Tensor: read-only", function() tensor[0] = 1 end)
    stands("gdnmeta.Tensor:at: row", function() tensor:at(2) end)
    stands("gdnmeta.Tensor:at: column", function() tensor:at(0, 0) end)
    stands("gdnmeta.Tensor:at: column", function() meta.non_spec_state_indices_tensor:at(0, "x") end)
    batch:close()
    stands("gdnmeta.Batch: closed", function() batch:clear() end)
    stands("gdnmeta.Batch: closed", function() return batch.num_rows end)
    stands("gdnmeta.Builder:build: the batch is closed", function() builder:build(batch) end)
    assert(builder:build_raw { query_start_loc = { 0, 1 }, seq_lens = { 9 }, block_table = { { 7 } } })
    stands("gdnmeta.Tensor: stale", function() return tensor[0] end)
    stands("gdnmeta.Tensor: stale", function() tensor:at(0) end)
    stands("gdnmeta.Tensor: stale", function() tensor:totable() end)
    stands("gdnmeta.Tensor: stale", function() tensor:dlpack() end)
    builder:close()
    for _, method in ipairs { "batch", "build", "build_raw", "capture", "table", "set_blocks", "check" } do
      stands("gdnmeta.Builder: closed", function() builder[method](builder) end)
    end
  end)

  it("by a batch of a device", function()
    local driver = drivers.open "fake"
    local b = assert(gdn.builder { device = "cuda", max_num_seqs = 2, max_num_batched_tokens = 8 })
    local batch = b:batch()
    batch:push(0, 1, 9, true)
    stands("gdnmeta.Batch:index: row", function() batch:index(1, 0) end)
    stands("gdnmeta.Batch:index: row", function() batch:index(-1, 0) end)
    stands("gdnmeta.Batch:index: seq_index", function() batch:index(0, -2) end)
    stands("gdnmeta.Batch:index: accepted_index", function() batch:index(0, -1, -3) end)
    batch:index(0, -1, -1)
    batch:push(1, 1, 9, true)
    batch:index(1, 5, 7)
    batch:index(0, 3)
    local rows, seen = batch.rows, { {}, {} }
    for k = 0, rows.max_rows - 1 do
      seen[1][k + 1], seen[2][k + 1] = rows.seq_index[k], rows.accepted_index[k]
    end
    local want = { { 3, 5 }, { -1, 7 } }
    for k = 3, rows.max_rows do want[1][k], want[2][k] = -1, -1 end
    assert.are.same(want, seen)
    b:close()
    driver:close()
  end)
end)

describe("A policy's mistake", function()
  local what -- of a hook that is written on one line: that line's
  local function fails(field, hook)
    local engine = serve.engine { [field] = hook }
    engine:submit(serve.request(1))
    local step = engine:step(0)
    if step.num_rows > 0 then engine:complete(step, 1) end
    local failure, place = engine:failures()[1], debug.getinfo(hook, "S")
    assert.is_not_nil(failure, what)
    local prefix = ("%s:%d: %s"):format(place.short_src, place.linedefined, what)
    assert.are.equal(prefix, failure.message:sub(1, #prefix))
    engine:close()
  end

  it("stands at its own line", function()
    for _, case in ipairs {
      { "ctx is read-only", "admit", function(_, ctx) ctx.now = 1 end },
      { "ctx has no field", "admit", function(_, ctx) return ctx.nope end },
      { "ctx.cost is read-only", "admit", function(_, ctx) ctx.cost.nope = 1 end },
      { "ctx.pad: want", "admit", function(_, ctx) local n = ctx.pad "x" return n end },
      { "r is read-only", "admit", function(r) r.id = 1 end },
      { "r has no field", "admit", function(r) return r.nope end },
      { "view has no field", "step", function(view) return view.nope end },
      { "view is read-only", "step", function(view) view.now = 1 end },
      { "view: no request", "step", function(view) local f = view:waiting() f(nil, 99) end },
      { "plan has no method", "step", function(_, plan) plan:nope() end },
      { "plan is read-only", "step", function(_, plan) plan.take = 1 end },
      { "plan:take: no request", "step", function(_, plan) plan:take(99) end },
      { "plan:take: n =", "step", function(_, plan) plan:take(0, 0.5) end },
      { "plan:take: drafts =", "step", function(_, plan) plan:take(0, 1, -1) end },
      { "plan:admit: no request", "step", function(_, plan) plan:admit "x" end },
      { "plan:admit: n =", "step", function(_, plan) plan:admit(0, -1) end },
      { "plan:skip: no request", "step", function(_, plan) plan:skip(99) end },
      { "plan:preempt: no request", "step", function(_, plan) plan:preempt(99) end },
      { "plan:reject: no request", "step", function(_, plan) plan:reject(99, "why") end },
      { "plan:reject: want a reason", "step", function(_, plan) plan:reject(0) end },
    } do
      what = case[1]
      fails(case[2], case[3])
    end
  end)
end)
