-- Faults of other builders that put a row into the wrong class. See mutants/faults.lua, which puts each
-- of them into this library.
local serve = require "spec.support.run_engine"
local strict = require "spec.support.strict_rows"

local builder_of, build = strict.builder_of, strict.build
local decode, spec, fresh, empty = strict.decode, strict.spec, strict.fresh, strict.empty

after_each(strict.close)

local function classified(meta) return meta.num_decodes + meta.num_prefills + meta.num_spec_decodes end

describe("Classes of rows:", function()
  it("B1 (vllm #31649, #33777): padding is in no class, and keeps no step from its graph", function()
    local builder = builder_of { full_cuda_graph = true }
    for _, case in ipairs { { 1, { decode(10) } }, { 2, { decode(10), decode(20), empty() } },
                            { 2, { spec(10), spec(20), empty(), empty() } }, { 2, { spec(10), fresh(20) } },
                            { 2, { decode(10), fresh(20), empty() } } } do
      local real, rows = case[1], case[2]
      local meta = assert(build(builder, rows, 8, 64))
      assert.are.equal(real, classified(meta))
      if meta.num_prefills == 0 then
        assert.are.equal(8, (meta.spec_state_indices_tensor or meta.non_spec_state_indices_tensor).shape[1])
      end
    end
  end)

  it("B2 (vllm #34845, #34871): any mix of decodes, short chunks, drafts, prefills, padding builds",
     function()
    local kinds = { decode(10), spec(20), decode(30, { prompt_done = false }), fresh(40), empty() }
    local builder = builder_of { full_cuda_graph = true }
    for mix = 0, 2 ^ #kinds - 1 do
      local rows, real, drafts = {}, 0, 0
      for k, row in ipairs(kinds) do
        if math.floor(mix / 2 ^ (k - 1)) % 2 == 1 then
          rows[#rows + 1], real = row, real + math.min(row.query_len, 1)
          if row.drafts then drafts = drafts + 1 end
        end
      end
      local meta = assert(build(builder, rows))
      assert.are.equal(real, classified(meta))
      assert.are.equal(drafts, meta.num_spec_decodes)
      if drafts > 0 then assert.are.equal(0, meta.num_decodes) end
    end
  end)

  it("B3 (vllm #51562, #51565, #51483): a first chunk of one token starts from zeros", function()
    local engine = serve.engine("fcfs", { max_num_seqs = 1 }, { num_slots = 2, full_cuda_graph = true })
    assert(engine:submit(serve.request("before", { max_tokens = 3 })))
    serve.run(engine)
    assert(engine:submit(serve.request("one token", { prompt_tokens = 1 })))
    local step = assert(engine:step(0))
    local meta = step.metadata
    assert.are.same({ 0, 1, "piecewise" }, { meta.num_decodes, meta.num_prefills, step.graph })
    assert.are.same({ 1 }, meta.non_spec_state_indices_tensor:totable()) -- the slot of the one before
    assert.are.same({ 0 }, meta.non_spec_read_state_indices:totable())
    assert.are.same({ 0 }, meta.prefill_read_state_indices:totable())
    assert.are.same({ false }, meta.has_initial_state:totable())
    engine:close()

    local one = fresh(20, { query_len = 1, seq_len = 1 })
    meta = assert(build(builder_of(), { decode(10), one }))
    assert.are.same({ 1, 1 }, { meta.num_decodes, meta.num_prefills })
    assert.are.same({ 10, 0 }, meta.non_spec_read_state_indices:totable())
    meta = assert(build(builder_of(), { spec(10), one }))
    assert.are.same({ 1, { 0 }, { false } }, { meta.num_prefills, meta.non_spec_read_state_indices:totable(),
                                               meta.has_initial_state:totable() })
  end)

  it("B4 (vllm #53051, #49918, #53059, #50532; ascend #12255): a prompt as long as a decode runs " ..
     "in no decode graph, and nothing stale is read", function()
    for _, prompt in ipairs { 1, 3 } do
      local engine = serve.engine("fcfs", { capture_sizes = { 1, 2, 3, 6 } },
                                  { full_cuda_graph = true, num_speculative_tokens = 2 })
      engine:submit(serve.request("a", { prompt_tokens = prompt, max_tokens = 20 }))
      local step = assert(engine:step(0))
      local meta = step.metadata
      assert.are_not.equal("full", step.graph)
      assert.are.same({ 1, 0, 1 }, { meta.num_prefills, meta.num_decodes, meta.step })
      local stale = meta.non_spec_state_indices_tensor
      assert.are.equal(1, stale[0])
      engine:complete(step, 0)
      step = assert(engine:step(1))
      assert.are.same({ "full", 2 }, { step.graph, step.metadata.step })
      assert.has_error(function() return stale[0] end,
                       "gdnmeta.Tensor: stale, made at step 1, the builder is at step 2")
      engine:close()
    end
  end)

  it("B27 (sglang-jax #1039): a row has a state when something is computed, however it is cut", function()
    for _, rules in ipairs { "strict", "vllm-2026-04", "vllm-2026-08", "vllm-2026-11" } do
      local meta = assert(build(builder_of { rules = rules }, {
        decode(10, { seq_len = 2 }), decode(20, { query_len = 4, seq_len = 5 }),
        decode(30, { query_len = 4, seq_len = 900 }), fresh(40, { query_len = 9, seq_len = 9 }), fresh(50),
      }))
      assert.are.same({ true, true, true, false, false }, meta.has_initial_state:totable())
    end
  end)

  it("B30 (vllm, prepare_chunk_indices): no empty row stands among others, and chunks count " ..
     "each row's tokens", function()
    assert.are.same({ nil, "rows[1].query_len = 0, want >= 1 (only padding at the back is empty)", -1 },
                    { build(builder_of(), { fresh(10), empty(), fresh(20) }) })
    local lengths, rows, want = { 1, 64, 65, 1, 200 }, { decode(90) }, {}
    for s, n in ipairs(lengths) do
      rows[s + 1] = fresh(10 * s, { query_len = n, seq_len = n })
      for i = 0, math.ceil(n / 64) - 1 do want[#want + 1] = { s - 1, i } end
    end
    local meta = assert(build(builder_of(), rows))
    assert.are.same(want, meta.chunk_indices:totable())
    assert.are.same({ 0, 1, 2, 4, 5, 9 }, meta.chunk_offsets:totable())
  end)
end)
