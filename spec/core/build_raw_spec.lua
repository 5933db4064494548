-- build_raw: vLLM's arguments as lists, arrays and memory.
local ffi = require "ffi"
local raises = require "spec.support.raises"
local raw = require "spec.support.vllm_inputs"
local array_of = require "gdnmeta.array_of"

local int32s = array_of "int32_t"

local inputs, make, null = raw.inputs, raw.make, require("cjson").null

local INVALID, CAPACITY = -1, -3

describe("builder:build_raw", function()
  local builder
  before_each(function() builder = make {} end)
  after_each(function() builder:close() end)

  local function check_step(meta)
    assert.are.same({ 1, 1, 1, 2, 3 }, { meta.num_decodes, meta.num_decode_tokens, meta.num_prefills,
                                         meta.num_prefill_tokens, meta.num_actual_tokens })
    assert.are.same({ 0, 1, 3 }, meta.non_spec_query_start_loc:totable())
    assert.are.same({ 5, 6 }, meta.non_spec_state_indices_tensor:totable())
    assert.are.same({ true, false }, meta.has_initial_state:totable())
  end

  it("takes lists, and sizes the step by them by default", function()
    check_step(assert(builder:build_raw(inputs())))
    check_step(assert(builder:build_raw(inputs {
      num_reqs = 2, num_actual_tokens = 3, max_query_len = 2, block_table_cols = 1,
      num_accepted_tokens = null, num_decode_draft_tokens = null, prompt_done = null, read_column = null })))
  end)

  it("takes int32_t arrays, which know their length, and flat tables", function()
    check_step(assert(builder:build_raw {
      query_start_loc = int32s(3, { 0, 1, 3 }),
      seq_lens = ffi.new("const int32_t[2]", 9, 2),
      block_table = ffi.new("int32_t[2]", 5, 6), block_table_cols = 1 }))
    check_step(assert(builder:build_raw(inputs { block_table = { ffi.new("int32_t[2]", 5, 6) },
                                                 block_table_cols = 1 })))
    local wide = ffi.new("int32_t[6]", 5, 0, 0, 6, 0, 0)
    check_step(assert(builder:build_raw(inputs { block_table = wide, block_table_cols = 3 })))
  end)

  it("takes the sizes that it is given", function()
    local meta = assert(builder:build_raw(inputs { num_reqs = 3, num_actual_tokens = 7 }))
    assert.are.same({ 2, 6 }, { meta.num_prefills, meta.num_prefill_tokens })
    meta = assert(builder:build_raw(inputs { max_query_len = 1 })) -- trusted: all rows are decodes
    assert.are.same({ 2, 3, 0 }, { meta.num_decodes, meta.num_decode_tokens, meta.num_prefills })
  end)

  it("looks at every row for the longest query", function()
    local meta = assert(builder:build_raw(inputs { query_start_loc = { 0, 2, 3 } }))
    assert.are.same({ 0, 2, 3 }, { meta.num_decodes, meta.num_prefills, meta.num_prefill_tokens })
  end)

  it("keeps arrays alive that nothing else holds", function()
    local alive = setmetatable({}, { __mode = "k" })
    local function step()
      local starts = int32s(3, { 0, 1, 3 })
      alive[starts] = true
      check_step(assert(builder:build_raw(inputs { query_start_loc = starts })))
    end
    step()
    collectgarbage()
    collectgarbage()
    assert.is_true(next(alive) ~= nil)
    builder:close()
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(alive))
  end)

  it("takes a table for each group", function()
    local three = make { num_groups = 3 }
    local meta = assert(three:build_raw(inputs {
      block_table = { { { 5 }, { 6 } }, { { 7 }, { 8 } }, { { 9 }, { 10 } } } }))
    for g = 0, 2 do
      assert.are.same({ 5 + 2 * g, 6 + 2 * g }, meta:group(g).non_spec_state_indices_tensor:totable())
    end
    meta = assert(three:build_raw(inputs { block_table_cols = 2, block_table = {
      ffi.new("int32_t[4]", 1, 2, 3, 4), { { 5, 6 }, { 7, 8 } }, ffi.new("int32_t[4]", 9, 10, 11, 12) } }))
    for g = 0, 2 do
      assert.are.same({ 1 + 4 * g, 3 + 4 * g }, meta:group(g).non_spec_state_indices_tensor:totable())
    end
    three:close()
    local one = assert(builder:build_raw(inputs { block_table = { { { 5 }, { 6 } } } }))
    check_step(one)
  end)

  it("takes a step of no rows", function()
    local meta = assert(builder:build_raw { query_start_loc = { 0 }, seq_lens = {}, block_table = {},
                                            block_table_cols = 1 })
    assert.are.same({ 0, 0, 0 },
                    { meta.num_decodes, meta.num_actual_tokens, #meta.non_spec_state_indices_tensor })
    assert.are.same({ 0 }, meta.non_spec_query_start_loc:totable())
  end)

  it("takes drafts and accepted counts", function()
    local spec = make { num_speculative_tokens = 1 }
    local meta = assert(spec:build_raw { query_start_loc = { 0, 2, 4 }, seq_lens = { 9, 9 },
                                         block_table = { { 1, 2 }, { 3, 4 } },
                                         num_accepted_tokens = ffi.new("int32_t[2]", 2, 1),
                                         num_decode_draft_tokens = { 1, 1 } })
    assert.are.same({ 2, 1 }, meta.num_accepted_tokens:totable())
    assert.are.same({ { 1, 2 }, { 3, 4 } }, meta.spec_state_indices_tensor:totable())
    spec:close()
  end)

  it("passes on what only strict looks at", function()
    local strict = make { rules = "strict", num_slots = 100, max_blocks_per_row = 2 }
    local function step(changes)
      return strict:build_raw(inputs { seq_lens = { 9, 4 }, block_table = { { 5, 6 }, { 7, 8 } },
                                       prompt_done = changes.prompt_done, read_column = changes.read_column })
    end
    -- Two tokens of the second row are computed. By default each reads its first column.
    assert.are.same({ 5, 7 }, assert(step {}).non_spec_read_state_indices:totable())
    assert.are.same({ 5, 8 }, assert(step { read_column = { 0, 1 } }).non_spec_read_state_indices:totable())
    assert.are.same({ 6, 7 }, assert(step { read_column = ffi.new("int32_t[2]", 1, 0) })
                    .non_spec_read_state_indices:totable())
    assert(step { prompt_done = { true, false } })
    assert(step { prompt_done = { 1, 0 } })
    assert(step { prompt_done = ffi.new("int32_t[2]", 0, 1) })
    local meta, message, code = step { prompt_done = { 2, 0 } }
    assert.is_nil(meta)
    assert.are.equal("rows[0].prompt_done = 2, want 0 or 1", message)
    assert.are.equal(INVALID, code)
    -- A prompt that is not done makes a one-token row a short extend, which comes after decodes.
    local pair = { query_start_loc = { 0, 1, 2 }, seq_lens = { 9, 9 }, block_table = { { 5, 6 }, { 7, 8 } } }
    pair.prompt_done = { true, false }
    assert(strict:build_raw(pair))
    pair.prompt_done = { false, true }
    assert.is_nil((strict:build_raw(pair)))
    raises("gdnmeta.Builder:build_raw: prompt_done has 1 elements, want 2, one per row",
           function() step { prompt_done = { true } } end)
    raises("gdnmeta.Builder:build_raw: read_column has 3 elements, want 2, one per row",
           function() step { read_column = ffi.new "int32_t[3]" } end)
    strict:close()
  end)

  it("forgets the arrays of the step before", function()
    local spec = make { num_speculative_tokens = 1 }
    local step = { query_start_loc = { 0, 2 }, seq_lens = { 9 }, block_table = { { 1, 2 } },
                   num_accepted_tokens = { 1 }, num_decode_draft_tokens = { 1 } }
    assert.are.equal(1, assert(spec:build_raw(step)).num_spec_decodes)
    step.num_decode_draft_tokens, step.num_accepted_tokens = nil, nil
    assert.are.equal(0, assert(spec:build_raw(step)).num_spec_decodes)
    spec:close()
  end)
end)

describe("builder:capture", function()
  it("derives drafts and accepted counts from the query lengths", function()
    local builder = make { num_speculative_tokens = 1, full_cuda_graph = true }
    local meta = assert(builder:capture { query_start_loc = { 0, 2, 4 }, seq_lens = { 2, 2 },
                                          block_table = { { 1, 2 }, { 3, 4 } } })
    assert.are.same({ 2, 4 }, { meta.num_spec_decodes, meta.num_spec_decode_tokens })
    assert.are.same({ 2, 2 }, meta.num_accepted_tokens:totable())
    assert.are.same({ { 1, 2 }, { 3, 4 } }, meta.spec_state_indices_tensor:totable())
    builder:close()
  end)

  it("touches no state under strict", function()
    local builder = make { rules = "strict", num_speculative_tokens = 1, full_cuda_graph = true }
    local meta = assert(builder:capture { query_start_loc = { 0, 2, 4 } })
    assert.are.same({ { 0, 0 }, { 0, 0 } }, meta.spec_state_indices_tensor:totable())
    assert.are.same({ 0, 0 }, meta.spec_read_state_indices:totable())
    assert.are.same({ 2, 2 }, meta.num_accepted_tokens:totable())
    meta = assert(builder:capture { query_start_loc = { 0, 1, 2, 3 } })
    assert.are.same({ 3, 0 }, { meta.num_decodes, meta.num_prefills })
    assert.are.same({ 0, 0, 0 }, meta.non_spec_state_indices_tensor:totable())
    local refused, message, code = builder:capture { query_start_loc = { 0, 2, 3 } }
    assert.is_nil(refused)
    assert.matches("^rows%[1%]%.query_len = 1, want", message)
    assert.are.equal(INVALID, code)
    builder:close()
  end)

  it("refuses more than a graph holds", function()
    local builder = make { max_rows = 9, max_cudagraph_capture_size = 3 }
    local meta, message, code = builder:capture {
      query_start_loc = { 0, 1, 2, 3, 4 }, seq_lens = { 1, 1, 1, 1 },
      block_table = { { 1 }, { 2 }, { 3 }, { 4 } } }
    assert.is_nil(meta)
    assert.matches("^capture of num_reqs = 4, num_actual_tokens = 4, want both <= 3", message)
    assert.are.equal(CAPACITY, code)
    builder:close()
  end)
end)
