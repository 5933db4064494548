-- How views tell a closed builder from a later step, what is read of a device and how often, and memory that
-- calls give back.
local array_of = require "gdnmeta.array_of"
local c_buffers = require "gdnmeta.native.c_buffers"
local drivers = require "spec.support.driver"
local gdn = require "gdnmeta"
local make = require "spec.support.small_builder"
local stands = require "spec.support.stands"
local tensor = require "gdnmeta.tensor"

local int32s, doubles = array_of "int32_t", array_of "double"

local function build(builder)
  local batch = builder:batch()
  batch:add { query_len = 130, seq_len = 130, blocks = { 3 } }
  return assert(builder:build(batch))
end

describe("A view", function()
  it("is stale at any other step, step 0 too, and closed below", function()
    local core = { stamp = doubles(1, 1) }
    local view = tensor.vector(core, int32s(3, { 4, 5, 6 }), 0, 3)
    assert.are.same({ 3, 3, 1, 4, 6 }, { #view, view.rows, view.columns, view[0], view[2] })
    assert.are.same({ 4, 5, 6 }, view:totable())
    for _, step in ipairs { 0, 2 } do
      core.stamp[0] = step
      local why = ("gdnmeta.Tensor: stale, made at step 1, the builder is at step %d"):format(step)
      stands(why, function() return view[0] end)
      stands(why, function() view:dlpack() end)
      assert.are.equal("int32[3] (stale)", tostring(view))
      assert.is_truthy(view.data)
    end
    core.stamp[0] = -1
    stands("gdnmeta.Tensor: builder closed", function() return view[0] end)
    stands("gdnmeta.Tensor: builder closed", function() return view.data end)
    stands("gdnmeta.Tensor: builder closed", function() view:dlpack() end)
    assert.are.equal("int32[3] (closed)", tostring(view))
  end)

  it("is exported if it is a tensor of the metadata", function()
    local builder = make()
    local meta = build(builder)
    assert.is_truthy(meta.chunk_offsets:dlpack())
    stands("gdnmeta.Tensor:dlpack: a vector of nums_dict, want a tensor of the metadata",
      function() meta.nums_dict[8].nums:dlpack() end)
    builder:close()
  end)

  it("is read of a device once, whole", function()
    local driver = drivers.open "fake"
    local builder = make { device = "cuda", full_cuda_graph = "mixed" }
    local meta = build(builder)
    local wide, narrow, reads = meta.chunk_offsets, meta.token_class, builder:counters().reads
    assert.are.same({ 0, 3, 3 }, { wide[0], wide[1], wide[#wide - 1] })
    assert.are.equal(reads + 1, builder:counters().reads)
    assert.are.same({ 3, 3 }, { narrow[0], narrow[#narrow - 1] })
    assert.are.equal(reads + 2, builder:counters().reads)
    builder:close()
    driver:close()
  end)
end)

describe("Memory of a malloc", function()
  it("is given back by a builder that is closed", function()
    local builder = make()
    assert(builder:build_raw { query_start_loc = { 0, 1 }, seq_lens = { 9 }, block_table = { { 5 } } })
    assert.is_truthy(next(builder.raw.buffers.blocks))
    assert.is_truthy(builder.core.handle)
    builder:close()
    assert.is_nil(next(builder.raw.buffers.blocks))
    assert.is_nil(builder.core.handle)
    assert.is_true(builder.core.stamp[0] < 0)
  end)

  it("is given back by gdn.reorder, which takes as much as it has rows", function()
    local new, made = c_buffers.new, nil
    c_buffers.new = function()
      made = new()
      return made
    end
    local result = gdn.reorder { decode_threshold = 1, num_scheduled = { 5, 1, 1 },
                                 num_computed = { 0, 9, 9 }, num_prompt = { 5, 5, 5 } }
    c_buffers.new = new
    assert.are.same({ order = 12, swaps = 24, work = 36, num_scheduled = 12, num_computed = 12,
                      num_prompt = 12 }, made.sizes)
    assert.is_nil(next(made.blocks))
    assert.is_true(result.modified)
  end)
end)
