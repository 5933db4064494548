-- Views of tensors: indices, shapes, tables, pointers.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local raises = require "spec.support.raises"
local array_of = require "gdnmeta.array_of"

local int32s = array_of "int32_t"

-- Rows of 1 and 130 tokens: one decode, one first chunk of three chunks of 64.
local function step(builder)
  local batch = builder:batch()
  batch:add { query_len = 1, seq_len = 9, blocks = { 7 }, prompt_done = true }
  batch:add { query_len = 130, seq_len = 130, blocks = { 8 } }
  return assert(builder:build(batch))
end

describe("a tensor view", function()
  local builder, meta
  before_each(function()
    builder = assert(gdn.builder { device = "cpu", max_num_seqs = 8 })
    meta = step(builder)
  end)
  after_each(function() builder:close() end)

  it("gives numbers and booleans by a flat 0-based index", function()
    local starts = meta.non_spec_query_start_loc
    assert.are.same({ 0, 1, 131 }, { starts[0], starts[1], starts[2] })
    local chunks = meta.chunk_indices
    assert.are.same({ 0, 0, 0, 1, 0, 2 },
                    { chunks[0], chunks[1], chunks[2], chunks[3], chunks[4], chunks[5] })
    local wide = meta.chunk_offsets[1]
    assert.are.equal("number", type(wide))
    assert.are.equal(3, wide)
    assert.is_true(meta.has_initial_state[0])
    assert.is_false(meta.has_initial_state[1])
  end)

  it("gives an element by its row and column", function()
    local chunks = meta.chunk_indices
    assert.are.same({ 0, 2, 1 }, { chunks:at(2, 0), chunks:at(2, 1), chunks:at(1, 1) })
    assert.are.same({ 131, 3 }, { meta.non_spec_query_start_loc:at(2), meta.chunk_offsets:at(1) })
    assert.is_false(meta.has_initial_state:at(1))
    for shown, row in pairs { ["3"] = 3, ["-1"] = -1, ["0.5"] = 0.5, ["nil"] = false, ['"1"'] = "1" } do
      raises(("gdnmeta.Tensor:at: row %s, want an integer in [0, 3)"):format(shown),
             function() chunks:at(row or nil, 0) end)
    end
    raises("gdnmeta.Tensor:at: column 2, want an integer in [0, 2)", function() chunks:at(0, 2) end)
    raises("gdnmeta.Tensor:at: column -1, want an integer in [0, 2)", function() chunks:at(1, -1) end)
    raises("gdnmeta.Tensor:at: column nil, want an integer in [0, 2)", function() chunks:at(1) end)
    raises("gdnmeta.Tensor:at: row 2, want an integer in [0, 2)", function() meta.chunk_offsets:at(2) end)
    raises("gdnmeta.Tensor:at: column 0, want none of a vector", function() meta.chunk_offsets:at(1, 0) end)
    raises("gdnmeta.Tensor:at: call it with a colon", function() chunks.at(0, 0) end)
    raises("gdnmeta.Tensor:totable: call it with a colon", function() chunks.totable() end)
  end)

  it("knows its length, shape and element type", function()
    assert.are.same({ 3, 6, 2 }, { #meta.non_spec_query_start_loc, #meta.chunk_indices, #meta.chunk_offsets })
    assert.are.same({ 3 }, meta.non_spec_query_start_loc.shape)
    assert.are.same({ 3, 2 }, meta.chunk_indices.shape)
    assert.are.same({ "int32", "int64", "bool" },
                    { meta.chunk_indices.dtype, meta.chunk_offsets.dtype, meta.has_initial_state.dtype })
  end)

  it("becomes a table: flat for one dimension, rows for two", function()
    assert.are.same({ 0, 1, 131 }, meta.non_spec_query_start_loc:totable())
    assert.are.same({ { 0, 0 }, { 0, 1 }, { 0, 2 } }, meta.chunk_indices:totable())
    assert.are.same({ 0, 3 }, meta.chunk_offsets:totable())
    assert.are.same({ true, false }, meta.has_initial_state:totable())
  end)

  it("lends its memory as a typed pointer", function()
    assert.are.equal(131, meta.non_spec_query_start_loc.data[2])
    assert.is_true(ffi.istype("int32_t *", meta.non_spec_query_start_loc.data))
    assert.is_true(ffi.istype("int64_t *", meta.chunk_offsets.data))
    assert.is_true(ffi.istype("bool *", meta.has_initial_state.data))
    assert.is_true(meta.non_spec_query_start_loc.data == meta:group(0).non_spec_query_start_loc.data)
  end)

  it("prints its type, its shape and its first elements", function()
    assert.are.equal("int32[3] {0, 1, 131}", tostring(meta.non_spec_query_start_loc))
    assert.are.equal("int32[3, 2] {0, 0, 0, 1, 0, 2}", tostring(meta.chunk_indices))
    assert.are.equal("bool[2] {true, false}", tostring(meta.has_initial_state))
    assert.are.equal("int32[2048] {0, 1, 1, 1, 1, 1, 1, 1, ...}", tostring(meta.batch_ptr))
    local eight = assert(builder:capture { query_start_loc = { 0, 1, 2, 3, 4, 5, 6, 7 } })
    assert.are.equal("int32[8] {0, 1, 2, 3, 4, 5, 6, 7}", tostring(eight.non_spec_query_start_loc))
  end)

  it("refuses an index that is none of its elements", function()
    local view = meta.chunk_indices
    for index, shown in pairs { [-1] = "-1", [6] = "6", [2^31] = "2147483648", [0.5] = "0.5" } do
      raises(("gdnmeta.Tensor: index %s, want an integer in [0, 6)"):format(shown),
             function() return { view[index] } end)
    end
    raises("gdnmeta.Tensor: index nan, want an integer in [0, 6)", function() return { view[0 / 0] } end)
    raises('gdnmeta.Tensor: no field "length"', function() return { view.length } end)
    raises("gdnmeta.Tensor: no field cdata int64_t", function() return { view[1LL] } end)
  end)

  it("cannot be written", function()
    local view = meta.chunk_indices
    raises("gdnmeta.Tensor: read-only, cannot set 0", function() view[0] = 1 end)
    raises('gdnmeta.Tensor: read-only, cannot set "shape"', function() view.shape = {} end)
    assert.has_error(function() view._rows = 100 end)
    assert.are.equal(6, #view)
  end)

  it("is one object for as long as its step lasts", function()
    assert.is_true(rawequal(meta.chunk_indices, meta.chunk_indices))
    local before = meta.chunk_indices
    step(builder)
    assert.is_false(rawequal(before, meta.chunk_indices))
  end)

  it("of an older step raises, and says of which", function()
    local view = meta.non_spec_query_start_loc
    local address = view.data
    step(builder)
    step(builder)
    local stale = "gdnmeta.Tensor: stale, made at step 1, the builder is at step 3"
    raises(stale, function() return { view[0] } end)
    raises(stale, function() view:totable() end)
    raises(stale, function() view:at(0) end)
    assert.are.equal("int32[3] (stale)", tostring(view))
    assert.are.equal(3, #view)
    assert.is_true(address == view.data, "an address lasts as long as the builder")
    assert.is_true(address == meta.non_spec_query_start_loc.data)
    assert.are.equal(131, meta.non_spec_query_start_loc[2])
  end)

  it("of a closed builder raises", function()
    local view = meta.non_spec_query_start_loc
    builder:close()
    local closed = "gdnmeta.Tensor: builder closed"
    raises(closed, function() return { view[0] } end)
    raises(closed, function() view:totable() end)
    raises(closed, function() return { view.data } end)
    assert.are.equal("int32[3] (closed)", tostring(view))
  end)

  it("can be empty", function()
    local spec = assert(gdn.builder { device = "cpu", num_speculative_tokens = 1 })
    local batch = spec:batch()
    batch:add { query_len = 2, seq_len = 9, blocks = { 7, 8 }, drafts = 1, prompt_done = true }
    local view = assert(spec:build(batch)).non_spec_token_indx
    assert.are.same({ 0, { 0 }, {}, "int32[0] {}" }, { #view, view.shape, view:totable(), tostring(view) })
    raises("gdnmeta.Tensor: index 0, want an integer in [0, 0)", function() return { view[0] } end)
    spec:close()
  end)

  it("alone keeps alive what it reads", function()
    local alone = step(assert(gdn.builder { device = "cpu" })).non_spec_query_start_loc
    local record = step(assert(gdn.builder { device = "cpu" })).nums_dict[8].offsetlist
    for _ = 1, 3 do
      collectgarbage()
      for _ = 1, 50 do int32s(100) end
    end
    assert.are.same({ 0, 1, 131 }, alone:totable())
    assert.are.equal(16, record[17])
  end)

  it("tells its rows and columns as numbers", function()
    local other = assert(gdn.builder { device = "cpu", max_num_seqs = 4, num_speculative_tokens = 2 })
    local three = assert(other:batch())
    for row = 0, 2 do
      three:add { query_len = 3, seq_len = 40, prompt_done = true, drafts = 2,
                  blocks = { 3 * row + 1, 3 * row + 2, 3 * row + 3 } }
    end
    local shown = assert(other:build(three))
    local cells, vector = shown.spec_state_indices_tensor, shown.spec_query_start_loc
    assert.are.same({ 3, 3, 4, 1 }, { cells.rows, cells.columns, vector.rows, vector.columns })
    other:close()
  end)
end)
