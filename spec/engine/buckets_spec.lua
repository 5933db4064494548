-- An engine whose steps are buckets: which one a step takes, what runs it, and the step of an idle rank.
local ffi = require "ffi"
local drivers = require "spec.support.driver"
local gdn = require "gdnmeta"
local buckets = require "gdnmeta.engine.decide.buckets"
local growth = require "spec.support.growth"
local serve = require "spec.support.run_engine"

local EINVAL, ECAP = -1, -3
local request = serve.request
local MIXED = { full_cuda_graph = "mixed" }

local function sizes(list)
  local text = {}
  for n, bucket in ipairs(list) do text[n] = ("%dx%d"):format(bucket.rows, bucket.tokens) end
  return table.concat(text, " ")
end

describe("Buckets", function()
  it("are by default rows that decode, then all rows and doubling tokens", function()
    assert.are.equal("1x1 2x2 4x4 8x8 8x16 8x32 8x64 8x100", sizes(buckets.usual(8, 0, 100)))
    assert.are.equal("1x4 2x8 4x16 6x24 6x48 6x64", sizes(buckets.usual(6, 3, 64)))
    assert.are.equal("1x3", sizes(buckets.usual(1, 2, 3)))
    assert.are.equal("1x3 2x6 3x8", sizes(buckets.usual(3, 2, 8)))
    assert.are.equal("3x1 3x2", sizes(buckets.usual(3, 2, 2))) -- not even a row with its drafts
  end)

  it("are taken by the smallest that holds tokens and rows, in any order given", function()
    local list = assert(buckets.parse { { rows = 4, tokens = 64 }, { rows = 2, tokens = 64 },
                                        { rows = 8, tokens = 8 }, { rows = 2, tokens = 64 } })
    assert.are.equal("8x8 2x64 4x64", sizes(list))
    assert.are.same({ 8, 64 }, buckets.token_sizes(list))
    local arrays = buckets.new(list)
    local function find(rows, tokens) return buckets.find(arrays, rows, tokens) end
    assert.are.same({ 0, 0, 1, 1, 2, 2, -1, -1 },
                    { find(1, 1), find(8, 8), find(1, 9), find(2, 64), find(3, 9), find(4, 64), find(5, 9),
                      find(1, 65) })
  end)

  it("are refused by name", function()
    local function refusal(value, options)
      local ok, message = pcall(serve.engine, "fcfs", { mixed_capture_sizes = value }, options or MIXED)
      assert.is_false(ok)
      return message:match "gdnmeta.engine: (.*)"
    end
    local name = "mixed_capture_sizes"
    assert.are.equal(name .. " = 7, want a list of buckets, or false", refusal(7))
    assert.are.equal(name .. "[1] = 7, want { rows =, tokens = }", refusal { 7 })
    assert.are.equal(name .. "[2]: want a list without gaps", refusal { [2] = { rows = 1, tokens = 1 } })
    assert.are.equal(name .. "[1]: unknown field row, want one of rows, tokens",
                     refusal { { row = 1, tokens = 1 } })
    assert.are.equal(name .. "[1].rows = nil, want an integer in 1 .. 2147483647", refusal { { tokens = 1 } })
    assert.are.equal(name .. "[1].tokens = 0, want an integer in 1 .. 2147483647",
                     refusal { { rows = 1, tokens = 0 } })
    assert.matches("^" .. name .. " has 1000 rows, want at most %d+, the builder's max_rows$",
                   refusal { { rows = 1000, tokens = 8 } })
    assert.matches("^" .. name .. " has 1000000 tokens, want at most %d+, the builder's max_num_batched_tok",
                   refusal { { rows = 1, tokens = 1000000 } })
    assert.are.equal(name .. ' is for a builder with full_cuda_graph = "mixed"',
                     refusal({ { rows = 1, tokens = 1 } }, { full_cuda_graph = true }))
    local list = {}
    for n = 1, 1025 do list[n] = { rows = 1, tokens = n } end
    assert.are.equal(name .. ": 1025 buckets, want at most 1024", refusal(list))
  end)
end)

describe("A step in a bucket", function()
  local LIST = { { rows = 2, tokens = 4 }, { rows = 4, tokens = 8 }, { rows = 3, tokens = 48 } }

  local function shown(step)
    return { step.graph, step.branches, step.padded_rows, step.padded_tokens, step.num_rows }
  end

  it("is one graph for prompts and decodes alike, chosen by counts", function()
    local engine = serve.engine("fcfs", { mixed_capture_sizes = LIST }, MIXED)
    local function run(now)
      local step = assert(engine:step(now))
      local is = shown(step)
      engine:complete(step, now)
      return is
    end
    engine:submit(request(1, { prompt_tokens = 3 }))
    assert.are.same({ "full", "prefill", 2, 4, 1 }, run(0)) -- as long as a decode with drafts, and no decode
    engine:submit(request(2, { prompt_tokens = 40 }))
    assert.are.same({ "full", "decode+prefill", 3, 48, 2 }, run(1))
    assert.are.same({ "full", "decode", 2, 4, 2 }, run(2))
    for id = 3, 4 do engine:submit(request(id, { prompt_tokens = 16 })) end
    assert.are.same({ "piecewise", "decode+prefill", 4, 48, 4 }, run(3)) -- a row too many
    engine:close()
    engine = serve.engine("fcfs", { mixed_capture_sizes = LIST }, MIXED)
    engine:submit(request(1, { prompt_tokens = 60 }))
    assert.are.same({ "eager", "prefill", 1, 60, 1 }, shown(engine:step(0))) -- more tokens than any bucket
    engine:close()
  end)

  it("comes from a list that an engine shows, also the usual one", function()
    local engine = serve.engine("fcfs", nil, MIXED)
    assert.are.equal("1x1 2x2 4x4 4x8 4x16 4x32 4x64", sizes(engine.mixed_capture_sizes))
    engine:close()
    engine = serve.engine("fcfs", { mixed_capture_sizes = LIST }, MIXED)
    assert.are.equal("2x4 4x8 3x48", sizes(engine.mixed_capture_sizes))
    engine:close()
    engine = serve.engine("fcfs", nil, { full_cuda_graph = "mixed", max_cudagraph_capture_size = 8 })
    assert.are.equal("1x1 2x2 4x4 4x8", sizes(engine.mixed_capture_sizes))
    engine:close()
    engine = serve.engine "fcfs"
    assert.are.same({}, engine.mixed_capture_sizes)
    engine:close()
  end)

  it("has three branches with drafts", function()
    local engine = serve.engine("fcfs", nil, { full_cuda_graph = "mixed", num_speculative_tokens = 2 })
    engine:submit(request(1, { prompt_tokens = 3 }))
    engine:complete(engine:step(0), 0)
    engine:submit(request(2, { prompt_tokens = 9 }))
    local step = engine:step(1)
    assert.are.same({ "full", "speculative+prefill" }, { step.graph, step.branches })
    engine:complete(step, 1)
    engine:close()
  end)
end)

describe("A policy in buckets", function()
  it("pads to a bucket's tokens, whatever capture_sizes are", function()
    local padded = {}
    local policy = { key = function(_, ctx)
      for n = 1, 6 do padded[n] = ctx.pad(8 * n - 6) end
      return 0
    end }
    local engine = serve.engine(policy, { capture_sizes = { 8, 60 }, mixed_capture_sizes = {
      { rows = 4, tokens = 4 }, { rows = 1, tokens = 32 } } }, MIXED)
    for id = 1, 2 do engine:submit(request(id)) end
    engine:complete(engine:step(0), 0)
    assert.are.same({ 4, 32, 32, 32, 60, 60 }, padded)
    engine:close()
  end)

  it("of an engine for very large steps has its sizes", function()
    local engine = serve.engine("fcfs", nil, { full_cuda_graph = "mixed", max_num_batched_tokens = 2 ^ 26 })
    assert.are.equal(2 ^ 26, engine.mixed_capture_sizes[#engine.mixed_capture_sizes].tokens)
    engine:close()
  end)
end)

describe("The step of an idle rank", function()
  local LIST = { { rows = 2, tokens = 4 }, { rows = 4, tokens = 64 } }

  it("is its bucket's without rows: null slots, and the engine as it was", function()
    local engine = serve.engine("fcfs", { mixed_capture_sizes = LIST }, MIXED)
    engine:submit(request(1, { prompt_tokens = 9 }))
    engine:complete(engine:step(0), 0)
    local stats = {}
    for name, value in pairs(engine.stats) do stats[name] = value end
    local before = engine:request(1)
    local step = assert(engine:idle_step(4, 64))
    assert.are.same({ "full", "none", 4, 64, 0 },
                    { step.graph, step.branches, step.padded_rows, step.padded_tokens, step.num_rows })
    local meta = step.metadata
    for row = 0, 4 do
      assert.are.equal(0, meta.non_spec_state_indices_tensor[row])
      assert.are.equal(0, meta.non_spec_query_start_loc[row + 1])
    end
    assert.are.equal("int32[8] {0, 0, 0, 0, 0, 0, 64, 0}", tostring(meta.live_counts))
    assert.are.same(stats, engine.stats)
    assert.are.same(before, engine:request(1))
    assert.are.same({ 1, 0 }, { step.number, step.now })
    assert.is_true(engine:complete(step, 1))
    step = engine:step(2)
    assert.are.same({ 1, 1 }, { step.num_rows, step.query_len[0] })
    engine:complete(step, 2)
    step = assert(engine:idle_step(4, 64, ffi.cast("void *", 64))) -- a stream, which the CPU has no use for
    assert.are.same({ 2, 2 }, { step.number, step.now })
    engine:close()
  end)

  it("makes no garbage #jit", function()
    local engine, builder = serve.engine("fcfs", { mixed_capture_sizes = LIST }, MIXED), serve.builder(MIXED)
    local function run(n)
      for _ = 1, n do
        assert(engine:idle_step(2, 4))
        assert(engine:idle_step(4, 64))
        assert(builder:capture(LIST[1])) -- the same table in every step
      end
    end
    run(1000)
    local grown = growth(function() run(5000) end)
    assert.is_true(grown < 64, ("grew %.1f KB over 10000 steps"):format(grown)) -- 16 bytes each are 156
    engine:close()
    builder:close()
  end)

  it("has the tables of attention cache that steps with rows have, and places of its own", function()
    local options = { mixed_capture_sizes = LIST, kv_blocks = 40, kv_block_size = 4 }
    local engine = serve.engine("fcfs", options, MIXED)
    engine:submit(request(1, { prompt_tokens = 9 }))
    local step = assert(engine:step(0))
    assert(engine:complete(step, 0))
    local idle = assert(engine:idle_step(2, 4))
    assert.are.equal(step.kv_table, idle.kv_table)
    assert.are_not.equal(step.kv_slot_mapping, idle.kv_slot_mapping)
    for t = 0, 3 do assert.are.equal(-1, tonumber(idle.kv_slot_mapping[t])) end
    engine:close()
  end)

  it("does not take the news of a step that was refused", function()
    local engine = serve.engine("fcfs", { mixed_capture_sizes = LIST }, MIXED)
    engine:submit(request(1, { prompt_tokens = 9 }))
    local rows = engine.private.steps[1].rows
    local canary = rows.query_len[-1]
    rows.query_len[-1] = 0 -- a write outside the batch
    assert.is_nil((engine:step(0)))
    rows.query_len[-1] = canary
    assert.are.same({}, assert(engine:idle_step(2, 4)).admitted)
    assert.are.same({ 1 }, assert(engine:step(1)).admitted)
    engine:close()
  end)

  it("wants a bucket that was announced, and a step that is free", function()
    local engine = serve.engine("fcfs", { mixed_capture_sizes = LIST }, MIXED)
    local step, message, code = engine:idle_step(4, 4)
    local want = "idle_step: rows = 4 and tokens = 4, want a bucket of mixed_capture_sizes"
    assert.are.same({ nil, want, EINVAL }, { step, message, code })
    engine:submit(request(1, { prompt_tokens = 9 }))
    local running = engine:step(0)
    step, message, code = engine:idle_step(2, 4)
    assert.are.same({ nil, "step 1 is in flight, complete it first", ECAP }, { step, message, code })
    assert.are.equal("int32[8] {1, 9, 0, 0, 0, 0, 64, 1}", tostring(running.metadata.live_counts))
    engine:complete(running, 0)
    assert.has_error(function() engine:idle_step(0, 4) end,
                     "gdnmeta.Engine:idle_step: rows = 0, want an integer in 1 .. 2147483647")
    assert.has_error(function() engine:idle_step(2) end,
                     "gdnmeta.Engine:idle_step: tokens = nil, want an integer in 1 .. 2147483647")
    assert.has_error(function() engine:idle_step(2, 4, 7) end,
                     "gdnmeta.Engine:idle_step: stream = 7, want nil or a pointer")
    engine:close()
    local plain = serve.engine "fcfs"
    assert.is_nil((plain:idle_step(2, 4)))
    plain:close()
  end)

  it("is refused while a step of the only builder is in flight", function()
    local driver = drivers.open(os.getenv "GDN_CUDA_SPECS" or "fake")
    local engine = assert(gdn.engine { builder = serve.builder { device = "cuda", full_cuda_graph = "mixed" },
                                       async = true, mixed_capture_sizes = LIST })
    engine:submit(request(1, { prompt_tokens = 9 }))
    local running = assert(engine:step(0))
    assert.are.same({ nil, "step 1 is in flight, complete it first", ECAP }, { engine:idle_step(4, 64) })
    engine:complete(running, 1)
    engine:close()
    driver:close()
  end)

  it("leaves a step in flight alone, with a builder of its own", function()
    local function builder() return serve.builder(MIXED) end
    local engine = assert(gdn.engine { builder = builder(), second_builder = builder(), async = true,
                                       mixed_capture_sizes = LIST })
    engine:submit(request(1, { prompt_tokens = 9 }))
    local running = assert(engine:step(0))
    local slot = running.metadata.non_spec_state_indices_tensor[0]
    assert.is_true(slot > 0)
    assert(engine:idle_step(4, 64))
    assert.are.equal(slot, running.metadata.non_spec_state_indices_tensor[0])
    engine:complete(running, 1)
    engine:close()
  end)
end)

describe("A builder that an engine works on", function()
  it("does not build for the engine's callbacks, whose step it would replace", function()
    local builder, says = serve.builder(MIXED), {}
    local attempts = {
      function() builder:capture { rows = 4, tokens = 64 } end,
      function() builder:build(assert(builder:batch())) end,
      function() builder:build_raw {} end,
    }
    local engine = assert(gdn.engine { builder = builder, stopwatch = function()
      for n, attempt in ipairs(attempts) do says[n] = select(2, pcall(attempt)) end
      return 0
    end })
    engine:submit(request(1))
    assert.are.equal(1, assert(engine:step(0)).metadata.num_prefills)
    for n, method in ipairs { "capture", "build", "build_raw" } do
      assert.matches("gdnmeta.Builder:" .. method .. ": called by the stopwatch$", says[n])
    end
    engine:close()
  end)
end)
