-- State tables: written by row, as memory, or borrowed from the host.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local raises = require "spec.support.raises"
local array_of = require "gdnmeta.array_of"

local int32s = array_of "int32_t"

describe("the state tables", function()
  local builder, batch
  before_each(function()
    builder = assert(gdn.builder { device = "cpu", max_num_seqs = 4, num_groups = 2,
                                   num_speculative_tokens = 2, max_requests = 3 })
    batch = builder:batch()
  end)
  after_each(function() builder:close() end)

  local function states(group)
    batch:clear()
    batch:push(1, 1, 10, true)
    return assert(builder:build(batch)):group(group).non_spec_state_indices_tensor:totable()
  end

  it("are written by row, with null blocks after the list", function()
    builder:set_blocks(0, 1, { 4, 5, 6 })
    builder:set_blocks(1, 1, { 7, 8 })
    local cells = builder:table(0)
    assert.are.same({ 0, 4, 5, 6, 0 }, { cells[2], cells[3], cells[4], cells[5], cells[6] })
    assert.are.same({ 4 }, states(0))
    assert.are.same({ 7 }, states(1))
    builder:set_blocks(0, 1, { 9 })
    assert.are.same({ 9, 0, 0 }, { cells[3], cells[4], cells[5] })
    builder:set_blocks(0, 0, { 1, 2 })
    builder:set_blocks(0, 2, { 3, 4, 5 })
    local all = {}
    for i = 0, 8 do all[i + 1] = cells[i] end
    assert.are.same({ 1, 2, 0, 9, 0, 0, 3, 4, 5 }, all)
    assert(builder:build(batch), "the last row ends where the guard begins")
  end)

  it("can be written as memory", function()
    builder:table(0)[3], builder:table(1)[3] = 8, 6
    assert.are.same({ 8 }, states(0))
    assert.are.same({ 6 }, states(1))
  end)

  it("refuse what does not fit, and write nothing of it", function()
    builder:set_blocks(0, 1, { 4, 5, 6 })
    raises("gdnmeta.Builder:set_blocks: blocks has 4 elements, want at most 3",
           function() builder:set_blocks(0, 1, { 1, 2, 3, 4 }) end)
    raises("gdnmeta.Builder:set_blocks: blocks[2] = 2147483648, want an integer in -2147483648 .. 2147483647",
           function() builder:set_blocks(0, 1, { 1, 2^31 }) end)
    raises("gdnmeta.Builder:set_blocks: blocks = 7, want a list", function() builder:set_blocks(0, 1, 7) end)
    raises("gdnmeta.Builder:set_blocks: table_row = 3, want an integer in 0 .. 2",
           function() builder:set_blocks(0, 3, {}) end)
    raises("gdnmeta.Builder:set_blocks: group = 2, want an integer in 0 .. 1",
           function() builder:set_blocks(2, 0, {}) end)
    raises("gdnmeta.Builder:table: group = -1, want an integer in 0 .. 1", function() builder:table(-1) end)
    raises("gdnmeta.Builder:table: group = nil, want an integer in 0 .. 1", function() builder:table() end)
    assert.are.same({ 4, 5, 6 }, { builder:table(0)[3], builder:table(0)[4], builder:table(0)[5] })
  end)

  it("may be the host's own, until they are given back", function()
    builder:set_blocks(0, 1, { 4 })
    builder:set_blocks(1, 1, { 7 })
    assert.is_true(builder:borrow_table(0, int32s(8, { 0, 0, 0, 0, 0, 9 }), 5, 2))
    assert.are.same({ 9 }, states(0))
    assert.are.same({ 7 }, states(1))
    raises("gdnmeta.Builder:table: group 0 borrows its table", function() builder:table(0) end)
    raises("gdnmeta.Builder:set_blocks: group 0 borrows its table",
           function() builder:set_blocks(0, 0, {}) end)
    local mine = int32s(6, { 0, 0, 0, 5 })
    assert.is_true(builder:borrow_table(0, ffi.cast("const int32_t *", mine), 3, 2))
    assert.are.same({ 5 }, states(0))
    assert.is_true(builder:borrow_table(0, nil))
    assert.are.same({ 4 }, states(0))
  end)

  it("are kept alive for as long as they are borrowed", function()
    local alive = setmetatable({}, { __mode = "k" })
    local function borrow(n)
      local cells = int32s(9)
      alive[cells] = n
      assert(builder:borrow_table(0, cells, 3, 3))
    end
    local function collected()
      collectgarbage()
      collectgarbage()
      return select(2, next(alive))
    end
    borrow(1)
    assert.are.equal(1, collected())
    borrow(2)
    assert.are.equal(2, collected())
    assert.is_nil(next(alive, (next(alive))), "the first one is free")
    builder:borrow_table(0, nil)
    assert.is_nil(collected())
  end)

  it("refuse a row that a borrowed table does not have", function()
    local mine = int32s(3, { 4 })
    batch:push(1, 1, 10, true)
    assert.is_true(builder:borrow_table(0, mine, 3, 1))
    local meta, message, code = builder:build(batch)
    assert.is_nil(meta)
    assert.matches("^rows%[0%]%.table_row = 1, want", message)
    assert.are.equal(-1, code)
    raises("gdnmeta.Batch:push: table_row = 1, want an integer in 0 .. 0",
           function() batch:push(1, 1, 10, true) end)
  end)

  it("take as many rows as the smallest one that is read", function()
    local mine = int32s(3 * 50)
    mine[3 * 40] = 9
    assert(builder:borrow_table(0, mine, 3, 50))
    raises("gdnmeta.Batch:push: table_row = 3, want an integer in 0 .. 2",
           function() batch:push(3, 1, 10, true) end)
    assert(builder:borrow_table(1, mine, 3, 41))
    batch:push(40, 1, 10, true)
    raises("gdnmeta.Batch:push: table_row = 41, want an integer in 0 .. 40",
           function() batch:push(41, 1, 10, true) end)
    raises("gdnmeta.Batch:push: table_row = nil, want an integer in 0 .. 40",
           function() batch:push(nil, 1, 10, true) end)
    assert.are.same({ 9 }, assert(builder:build(batch)):group(1).non_spec_state_indices_tensor:totable())
    assert(builder:borrow_table(0, nil))
    raises("gdnmeta.Batch:push: table_row = 3, want an integer in 0 .. 2",
           function() batch:push(3, 1, 10, true) end)
  end)

  it("refuse to borrow what is no such table", function()
    local cells = ffi.new "int32_t[6]"
    raises("gdnmeta.Builder:borrow_table: group = 2, want an integer in 0 .. 1",
           function() builder:borrow_table(2, cells, 3, 2) end)
    raises("gdnmeta.Builder:borrow_table: cells = a table, want an int32_t array or pointer",
           function() builder:borrow_table(0, {}, 3, 2) end)
    raises("gdnmeta.Builder:borrow_table: cells = cdata double [6], want an int32_t array or pointer",
           function() builder:borrow_table(0, ffi.new "double[6]", 3, 2) end)
    raises("gdnmeta.Builder:borrow_table: row_stride = 2, want an integer in 3 .. 2147483647",
           function() builder:borrow_table(0, cells, 2, 2) end)
    raises("gdnmeta.Builder:borrow_table: rows = 0, want an integer in 1 .. 2147483647",
           function() builder:borrow_table(0, cells, 3, 0) end)
    raises("gdnmeta.Builder:borrow_table: cells has 6 elements, want 7 for 2 rows",
           function() builder:borrow_table(0, cells, 4, 2) end)
    assert.is_true(builder:borrow_table(0, cells, 3, 2))
  end)
end)
