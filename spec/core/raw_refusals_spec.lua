-- What build_raw and capture refuse: mistakes raise, steps that the core refuses come back as nil.
local ffi = require "ffi"
local raises = require "spec.support.raises"
local raw = require "spec.support.vllm_inputs"

local inputs, make, null = raw.inputs, raw.make, require("cjson").null

local INVALID, CAPACITY = -1, -3
local INT32 = "an integer in -2147483648 .. 2147483647"

describe("builder:build_raw", function()
  local builder
  before_each(function() builder = make {} end)
  after_each(function() builder:close() end)

  it("refuses what is no input, by name and at the caller's line", function()
    for _, case in ipairs {
      { "unknown input draft_tokens", { draft_tokens = {} } },
      { "unknown input 1", { [1] = 3 } },
      { "query_start_loc = nil, want a list or an int32_t array", { query_start_loc = null } },
      { 'query_start_loc = "0", want a list or an int32_t array', { query_start_loc = "0" } },
      { "seq_lens = 9, want a list or an int32_t array", { seq_lens = 9 } },
      { "seq_lens = cdata int *, want { pointer, elements }, for a pointer has no length",
        { seq_lens = ffi.new("int32_t *") } },
      { "seq_lens = cdata unsigned int [2], want a list or an int32_t array",
        { seq_lens = ffi.new "uint32_t[2]" } },
      { "seq_lens = cdata int64_t [2], want a list or an int32_t array",
        { seq_lens = ffi.new "int64_t[2]" } },
      { 'seq_lens[2] = "2", want ' .. INT32, { seq_lens = { 9, "2" } } },
      { "seq_lens[1] = nan, want " .. INT32, { seq_lens = { 0 / 0, 2 } } },
      { "seq_lens[1] = 2147483648, want " .. INT32, { seq_lens = { 2^31, 2 } } },
      { "seq_lens[2] = 1.5, want " .. INT32, { seq_lens = { 9, 1.5 } } },
      { "query_start_loc[3] = -2147483649, want " .. INT32, { query_start_loc = { 0, 1, -2^31 - 1 } } },
      { "query_start_loc[2] = true, want " .. INT32, { query_start_loc = { 0, true, 3 } } },
      { "num_accepted_tokens[1] = a table, want " .. INT32, { num_accepted_tokens = { {}, 1 } } },
      { "num_decode_draft_tokens[2] = inf, want " .. INT32, { num_decode_draft_tokens = { 1, 1 / 0 } } },
      { 'prompt_done[2] = "yes", want ' .. INT32, { prompt_done = { true, "yes" } } },
      { "read_column[1] = false, want " .. INT32, { read_column = { false, 0 } } },
      { 'num_reqs = "2", want ' .. INT32, { num_reqs = "2" } },
      { "num_reqs = 0.5, want " .. INT32, { num_reqs = 0.5 } },
      { "num_actual_tokens = 2147483648, want " .. INT32, { num_actual_tokens = 2^31 } },
      { "max_query_len = nan, want " .. INT32, { max_query_len = 0 / 0 } },
      { "block_table_cols = a table, want " .. INT32, { block_table_cols = {} } },
      { "block_table = 5, want a list of rows or an int32_t array", { block_table = 5 } },
      { "block_table[2] = 6, want a list", { block_table = { { 5 }, 6 } } },
      { "block_table[2] has 2 columns, want 1", { block_table = { { 5 }, { 6, 7 } } } },
      { "block_table[2] has 0 columns, want 1", { block_table = { { 5 }, {} } } },
      { "block_table[1] has 1 columns, want 2", { block_table_cols = 2 } },
      { "block_table[1] has 1 columns, want -1", { block_table_cols = -1 } },
      { "block_table[1] has 1 columns, want 2147483647", { block_table_cols = 2^31 - 1 } },
      { "block_table[2][1] = 2147483648, want " .. INT32, { block_table = { { 5 }, { 2^31 } } } },
      { "block_table has 2 elements, want 1, one table per group",
        { block_table = { { { 5 } }, { { 6 } } } } },
      { "block_table_cols is not given, want it for the flat block_table",
        { block_table = ffi.new "int32_t[2]" } },
      { "block_table has 3 elements, want a multiple of block_table_cols = 2",
        { block_table = ffi.new "int32_t[3]", block_table_cols = 2 } },
      { "block_table has 2 elements, want a multiple of block_table_cols = 0",
        { block_table = ffi.new "int32_t[2]", block_table_cols = 0 } },
    } do
      local message, changed = case[1], inputs(case[2])
      raises("gdnmeta.Builder:build_raw: " .. message, function() builder:build_raw(changed) end)
      raises("gdnmeta.Builder:capture: " .. message, function() builder:capture(changed) end)
    end
    raises("gdnmeta.Builder:build_raw: inputs = nil, want a table", function() builder:build_raw() end)
    raises('gdnmeta.Builder:capture: inputs = "x", want a table', function() builder:capture "x" end)
  end)

  it("refuses rows of several tokens where there are no rows", function()
    local function build(longest)
      return builder:build_raw { query_start_loc = { 0 }, seq_lens = {}, block_table = ffi.new("int32_t[0]"),
                                 block_table_cols = 1, max_query_len = longest }
    end
    for longest = 0, 1 do assert(build(longest)) end
    assert.are.same({ nil, "max_query_len = 2, want <= 1 for a batch without rows", INVALID }, { build(2) })
  end)

  it("refuses tables of groups that differ in size", function()
    local two = make { num_groups = 2 }
    raises("gdnmeta.Builder:build_raw: block_table[2] is 1 x 1, want 2 x 1 like the first",
           function() two:build_raw(inputs { block_table = { { { 5 }, { 6 } }, { { 7 } } } }) end)
    local uneven = inputs { block_table = { { { 5 }, { 6 } }, { { 7, 8 }, { 9, 0 } } } }
    raises("gdnmeta.Builder:build_raw: block_table[2] is 2 x 2, want 2 x 1 like the first",
           function() two:build_raw(uneven) end)
    raises("gdnmeta.Builder:build_raw: block_table = cdata int [4], want a list with one table per group",
           function() two:build_raw(inputs { block_table = ffi.new "int32_t[4]", block_table_cols = 1 }) end)
    raises("gdnmeta.Builder:build_raw: block_table has 1 elements, want 2, one table per group",
           function() two:build_raw(inputs { block_table = { { { 5 }, { 6 } } } }) end)
    two:close()
  end)

  it("returns what the core refuses, and leaves the metadata before it valid", function()
    local meta = assert(builder:build_raw(inputs()))
    local view = meta.non_spec_query_start_loc
    for _, case in ipairs {
      { INVALID, "^query_start_loc has 0 elements, want >= 1", { query_start_loc = {} } },
      { INVALID, "^query_start_loc%[2%] = 0, want >= 1", { query_start_loc = { 0, 1, 0 } } },
      { INVALID, "^query_start_loc%[0%] = 1, want 0", { query_start_loc = { 1, 2, 3 } } },
      { INVALID, "^seq_lens has 1 elements, want 2", { seq_lens = { 9 } } },
      { INVALID, "^seq_lens has 0 elements, want 2", { seq_lens = null } },
      { INVALID, "^block_table has 1 rows, want 2", { block_table = { { 5 } } } },
      { INVALID, "^block_table has 0 rows, want 2", { block_table = null } },
      { INVALID, "^block_table has 0 columns, want >= 1",
        { query_start_loc = { 0 }, seq_lens = {}, block_table = {} } },
      { INVALID, "^block_table has %-3 columns, want >= 1",
        { query_start_loc = { 0 }, seq_lens = {}, block_table = {}, block_table_cols = -3 } },
      { CAPACITY, "^num_reqs = 5, want 0 .. 4", { num_reqs = 5 } },
      { INVALID, "^num_actual_tokens = %-1, want >= 0", { num_actual_tokens = -1 } },
      { CAPACITY, "8192", { query_start_loc = { 0, 1, 8193 } } },
    } do
      local refused, message, code = builder:build_raw(inputs(case[3]))
      assert.is_nil(refused)
      assert.matches(case[2], message)
      assert.are.equal(case[1], code, message)
    end
    assert.are.same({ 1, 1, 1 }, { meta.num_decodes, meta.num_prefills, meta.step })
    assert.are.same({ 0, 1, 3 }, view:totable())
  end)
end)
