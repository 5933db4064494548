-- gdn.engine, submit and request: options, ranges, and the messages of what is refused.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local serve = require "spec.support.run_engine"

local ECAP, EINVAL = -3, -1
local builder, request = serve.builder, serve.request

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
    raises("default_drafts = 1, want at most 0 (num_speculative_tokens)",
           { builder = b, default_drafts = 1 })
    raises("async on the CPU wants second_builder", { builder = b, async = true })
    raises("second_builder is for async = true on the CPU", { builder = b, second_builder = builder() })
    raises("second_builder has max_rows = 9, want 4 as in builder",
           { builder = b, async = true, second_builder = builder { max_rows = 9 } })
    raises("second_builder has num_slots of group 0 = 3, want at least 50 as in builder",
           { builder = builder { num_slots = 50 }, async = true, second_builder = builder { num_slots = 3 } })
    raises("long_prefill_token_threshold wants chunked_prefill",
           { builder = b, chunked_prefill = false, long_prefill_token_threshold = 5 })
    raises("kv_tokens = 15, want at least 16 (kv_block_size)", { builder = b, kv_tokens = 15 })
    raises("kv_tokens = 63, want at least 64 (kv_block_size)",
           { builder = b, kv_tokens = 63, kv_block_size = 64 })
    raises("policy_seconds wants a stopwatch", { builder = b, policy_seconds = 1 })
    raises("capture_sizes[9]: want a list without gaps", { builder = b, capture_sizes = { 1, 2, [9] = 16 } })
    raises("capture_sizes go up to 65536, want at most 1024, the builder's max_num_batched_tokens",
           { builder = builder { max_num_batched_tokens = 1024 }, capture_sizes = { 1024, 65536 } })
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
    raises("kv_tokens = 15, want at least 16 (kv_block_size)", { builder = align(), kv_tokens = 15 })
    raises("chunked_prefill = false, want true with mamba_cache_mode align",
           { builder = align(), chunked_prefill = false })
    local engine = gdn.engine { builder = align() }
    assert.are.equal(128, engine.private.token_limits.max_model_len)
    engine:close()
  end)

  it("returns nil and the reason when the policy cannot be had", function()
    local engine, message, code = gdn.engine { builder = builder(), policy = "no_such" }
    assert.is_nil(engine)
    assert.matches('^no policy "no_such"', message)
    assert.are.equal(gdn.EINVAL, code)
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

  it("has its second builder for itself too, in either role", function()
    local a, b, c = builder(), builder(), builder()
    local engine = gdn.engine { builder = a, second_builder = b, async = true }
    raises("second_builder belongs to another engine, close that first",
           { builder = c, second_builder = b, async = true })
    raises("second_builder belongs to another engine, close that first",
           { builder = c, second_builder = a, async = true })
    raises("builder belongs to another engine, close that first", { builder = b })
    raises("builder belongs to another engine, close that first",
           { builder = b, second_builder = c, async = true })
    raises("second_builder is builder itself, want another",
           { builder = c, second_builder = c, async = true })
    engine:close()
    gdn.engine({ builder = b, second_builder = a, async = true }):close()
    a:close()
    raises("second_builder is closed", { builder = b, second_builder = a, async = true })
  end)

  it("leaves tables alone that the host lent to the second builder", function()
    local cells, second = ffi.new("int32_t[4]", 7), builder()
    assert(second:borrow_table(0, cells, 1, 4))
    raises("second_builder: group 0 borrows its table, want its own",
           { builder = builder(), second_builder = second, async = true })
    assert.are.same({ 7, 7 }, { cells[0], cells[3] })
  end)

  it("captures the usual sizes, a list or none", function()
    local function sizes(options, of_builder)
      options.builder = builder(of_builder)
      local engine = gdn.engine(options)
      local list = engine.private.options.capture_sizes
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
    local usual = require("gdnmeta.engine.decide.capture_sizes").usual
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
    raises("unknown field prompt, want one of arrival, blocks, checkpoint, class, computed, deadline, id, "
           .. "keep, max_tokens, priority, prompt_tokens, salt, session, slot, tokens, tpot, ttft, user, "
           .. "weight",
           { id = 1, prompt = 3 })
    raises("prompt_tokens = 0, want an integer in 1 .. 2147483647", request(1, { prompt_tokens = 0 }))
    for _, weight in ipairs { 0, -1, 1e-308, 9e-7, 1.1e6, math.huge, 0/0 } do
      raises(("weight = %.14g, want a number in 1e-6 .. 1e6"):format(weight), request(1, { weight = weight }))
    end
    raises("id = nil, want a number or a string", { prompt_tokens = 1, max_tokens = 1 })
    raises("arrival = nan, want a finite number of seconds", request(1, { arrival = 0 / 0 }))
    raises("arrival = -inf, want a finite number of seconds", request(1, { arrival = -math.huge }))
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
                    { shown.state, shown.user, shown.class, shown.prompt_tokens, shown.max_tokens,
                      shown.known, shown.computed_tokens,
                      shown.emitted, shown.deadline })
    engine:complete(engine:step(4), 4)
    shown = engine:request "a"
    assert.are.same({ "running", 11, 10, 1, 4 },
                    { shown.state, shown.known, shown.computed_tokens, shown.emitted, shown.last_emit })
    engine:complete(engine:step(5), 6)
    assert.are.equal(6, engine:request("a").last_emit)
    assert.is_nil(shown.nothing)
    assert.is_nil(engine:request "b")
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
    assert.is_true(engine.private.requests.used < 600)
    assert.is_nil(next(engine.private.requests.index))
    assert.is_nil(next(engine.private.requests.id))
    assert.is_nil(next(engine.private.users.number))
    engine:close()
  end)
end)
