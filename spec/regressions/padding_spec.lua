-- Faults of other builders in what comes after the real rows.
local gdn = require "gdnmeta"
local drivers = require "spec.support.driver"
local lib = require "gdnmeta.native"
local serve = require "spec.support.run_engine"
local strict = require "spec.support.strict_rows"

local decode, spec, fresh, empty = strict.decode, strict.spec, strict.fresh, strict.empty
local GRAPHS = { full_cuda_graph = true }

after_each(strict.close)

-- What a kernel may find in padding, field by field: the header's words.
local SENTINELS = { spec_state_indices_tensor = 0, non_spec_state_indices_tensor = 0,
                    spec_read_state_indices = 0, non_spec_read_state_indices = 0, spec_conv_shift = 0,
                    non_spec_conv_shift = 0, num_accepted_tokens = 1 }

local function check_padding(meta, real)
  local found = 0
  for name, value in pairs(SENTINELS) do
    local view = meta[name]
    if view then
      local columns = #view / view.shape[1]
      for i = real * columns, #view - 1 do
        assert.are.equal(value, view[i], name)
        found = found + 1
      end
    end
  end
  return found
end

describe("Padding:", function()
  it("B11 (vllm #35431, #39064): is what the header names, after larger steps too", function()
    local builder = strict.builder_of(GRAPHS)
    lib.gdn_builder_poison(builder.handle)
    for _ = 1, 2 do
      local four = { decode(10, { accepted = 3 }), decode(20), decode(30), decode(40) }
      assert(strict.build(builder, four, 8, 8))
      assert.is_true(check_padding(builder.metadata, 4) > 0)
      assert(strict.build(builder, { decode(50) }, 8, 8))
      assert.are.equal(21, check_padding(builder.metadata, 1))
      assert(strict.build(builder, { spec(10), spec(20, { accepted = 3 }), spec(30) }, 6, 18))
      assert(strict.build(builder, { spec(40, { accepted = 2 }) }, 6, 18))
      assert.are.equal(5 * (3 + 3), check_padding(builder.metadata, 1))
      assert(strict.build(builder, { fresh(10), fresh(20), fresh(30, { query_len = 90, seq_len = 90 }) }))
      local meta = assert(strict.build(builder, { fresh(10) }))
      assert.are.same({ 0, -1, -1 }, { meta.batch_ptr[0], meta.batch_ptr[1], meta.batch_ptr[2047] })
      assert.are.same({ 0, -1 }, { meta.token_chunk_offset_ptr[0], meta.token_chunk_offset_ptr[1] })
    end
  end)

  it("B11: launch tables end in -1 after longer and shorter steps, those past 1024 tiles too", function()
    local builder = strict.builder_of { max_num_batched_tokens = 20000 }
    lib.gdn_builder_poison(builder.handle)
    for _, tokens in ipairs { 100, 9000, 40, 16000, 8200, 9001, 10, 16000 } do
      local meta = assert(strict.build(builder, { fresh(10, { query_len = tokens, seq_len = tokens }) }))
      local tiles = math.ceil(tokens / 8)
      for _, name in ipairs { "batch_ptr", "token_chunk_offset_ptr" } do
        local view = meta[name]
        assert.are.equal(2 * math.max(1024, tiles), #view)
        for i = tiles, #view - 1 do assert(view[i] == -1, ("%s[%d] = %d"):format(name, i, view[i])) end
      end
    end
  end)

  it("B12 (vLLM-2080Ti #93; tokenspeed #700; vllm-gaudi #1431): the null slot is never assigned, and " ..
     "stays null on every way", function()
    local engine = serve.engine("fcfs", nil, { num_slots = 5 })
    for id = 1, 4 do engine:submit(serve.request(id)) end
    local meta, seen = engine:step(0).metadata, {}
    for _, slot in ipairs(meta.non_spec_state_indices_tensor:totable()) do seen[slot] = true end
    assert.are.same({ true, true, true, true }, seen)
    assert.are.equal(0, engine.private.states:free_slots())
    engine:close()
    -- Through a table on the device, whose row 0 is a live request's.
    local driver = drivers.open "fake"
    local table_of = driver:int32(3)
    driver:write(table_of, { 5, 6, 7 })
    for _, rules in ipairs { "strict", "vllm-2026-08" } do
      local builder = assert(gdn.builder { device = "cuda", rules = rules, max_num_seqs = 8,
                                           full_cuda_graph = true })
      local batch = assert(builder:batch())
      assert(builder:borrow_device_table(0, table_of, 1, 3))
      for row = 0, 1 do batch:push(row, 1, 9, true) end
      assert(batch:pad(8, 8))
      assert.are.same({ 5, 6, 0, 0, 0, 0, 0, 0 },
                      assert(builder:build(batch)).non_spec_state_indices_tensor:totable())
      assert.is_true(builder:peek_device_error())
      batch:close()
      builder:close()
    end
    driver:close()
  end)

  it("B13 (ascend #12040): rows after the real ones come from no table", function()
    local builder = strict.builder_of(GRAPHS)
    lib.gdn_builder_poison(builder.handle)
    for g = 0, 16 * 5 - 1 do builder:table(0)[g] = 90 end
    local batch = assert(builder:batch())
    for row = 0, 7 do batch:push(row, 1, 51, true) end -- what an earlier step left in the arrays
    batch:clear()
    batch:add(decode(10))
    assert(batch:pad(6, 6))
    local meta = assert(builder:build(batch))
    assert.are.same({ 10, 0, 0, 0, 0, 0 }, meta.non_spec_state_indices_tensor:totable())
    assert.are.same({ 10, 0, 0, 0, 0, 0 }, meta.non_spec_read_state_indices:totable())
    batch:close()
  end)

  it("B14 (vllm #50623, #50680): a view is as long as was asked for, or the step is refused", function()
    local builder = strict.builder_of { full_cuda_graph = true, max_cudagraph_capture_size = 6 }
    for padded = 2, 16 do
      local meta = assert(strict.build(builder, { decode(10), decode(20) }, padded, padded))
      local rows = padded <= 6 and padded or 2 -- beyond the largest graph a step runs without one
      assert.are.same({ rows, rows + 1, rows, rows },
                      { meta.non_spec_state_indices_tensor.shape[1], #meta.non_spec_query_start_loc,
                        #meta.non_spec_read_state_indices, #meta.non_spec_conv_shift })
    end
    local batch = assert(builder:batch())
    assert.are.same({ nil, "17 rows, the batch holds 16", -3 }, { batch:pad(17, 17) })
    batch.rows.padded_rows = 17
    assert.are.same({ nil, "padded_rows = 17, want 0 .. 16", -3 }, { builder:build(batch) })
    batch:close()
  end)

  it("B19 (sglang #32555): views have the rows of their step, and nothing after them", function()
    local builder = strict.builder_of()
    assert(strict.build(builder, { spec(10), spec(20), spec(30), spec(40) }))
    local meta = assert(strict.build(builder, { spec(50), decode(60) }))
    assert.are.same({ { 50, 51, 52 } }, meta.spec_state_indices_tensor:totable())
    for name, length in pairs { spec_state_indices_tensor = 3, spec_read_state_indices = 1,
        num_accepted_tokens = 1, spec_query_start_loc = 2, non_spec_state_indices_tensor = 1,
        non_spec_query_start_loc = 2, spec_token_indx = 3, non_spec_token_indx = 1, has_initial_state = 1,
        spec_sequence_masks = 2, chunk_offsets = 2 } do
      assert.are.equal(length, #meta[name], name)
      assert.has_error(function() return meta[name][length] end,
                       ("gdnmeta.Tensor: index %d, want an integer in [0, %d)"):format(length, length))
    end
  end)

  it("B22 (ascend #10901; vllm #37728; ATOM #2267): a capture names null slots alone, whatever the " ..
     "tables hold", function()
    local builder = strict.builder_of(GRAPHS)
    for i = 0, 16 * 5 - 1 do builder:table(0)[i] = 77 end
    assert(strict.build(builder, { spec(10, { accepted = 3 }), spec(20) }, 8, 24))
    for _, n in ipairs { 3, 1 } do
      local meta = assert(builder:capture { query_start_loc = { 0, n, 2 * n, 3 * n },
                                            block_table = { { 7, 8, 9 }, { 7, 8, 9 }, { 7, 8, 9 } } })
      for name, value in pairs(SENTINELS) do
        for i = 0, value == 0 and name:find "state" and meta[name] and #meta[name] - 1 or -1 do
          assert.are.equal(0, meta[name][i], name)
        end
      end
    end
  end)

  it("B23 (xpu-kernels #389, #391): the active counts are told beside the padded arrays", function()
    local builder = strict.builder_of(GRAPHS)
    local meta = assert(strict.build(builder, { decode(10), decode(20) }, 8, 8))
    assert.are.same({ 2, 2, 8, 8, 8 }, { meta.num_decodes, meta.num_decode_tokens, meta.num_rows,
                                         meta.num_actual_tokens, #meta.non_spec_state_indices_tensor })
    meta = assert(strict.build(builder, { spec(10), spec(20, { query_len = 2, drafts = 1 }) }, 8, 24))
    assert.are.same({ 2, 5, 8, 24 }, { meta.num_spec_decodes, meta.num_spec_decode_tokens, meta.num_rows,
                                       meta.num_actual_tokens })
    assert.are.same({ 8, 5 }, { #meta.num_accepted_tokens, #meta.spec_token_indx })
    assert.are.same({ 0, 3, 5, 5, 5, 5, 5, 5, 5 }, meta.spec_query_start_loc:totable())
  end)

  it("B25 (TRT-LLM #13278): rows of padding stand for no parked request", function()
    local engine = serve.engine("fcfs", { capture_sizes = { 4 } }, { full_cuda_graph = true })
    for id = 1, 4 do engine:submit(serve.request(id, { max_tokens = 20 })) end
    for _ = 1, 2 do engine:complete(engine:step(0), 0) end
    for turn = 1, 4 do
      assert(engine:set_policy(function(view, plan)
        local at = 0
        for i in view:running() do
          at = at + 1
          if at == turn then plan:take(i) end
        end
      end))
      local step = assert(engine:step(turn))
      assert.are.same({ 1, 4, "full" }, { step.num_rows, step.padded_rows, step.graph })
      assert.are.same({ turn, 0, 0, 0 }, step.metadata.non_spec_state_indices_tensor:totable())
      assert.are.same({ turn, 0, 0, 0 }, step.metadata.non_spec_read_state_indices:totable())
      engine:complete(step, turn)
    end
    engine:close()
    local builder = strict.builder_of(GRAPHS)
    assert(strict.build(builder, { decode(10), decode(20), empty() }, 8, 8))
    assert.are.equal(6 * 3, check_padding(builder.metadata, 2))
  end)
end)
