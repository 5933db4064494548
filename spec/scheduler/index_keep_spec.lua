-- A state of a table joins the index in one call, and what waits leaves where there is no room: the same as
-- step by step.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local Index = require "gdnmeta.engine.prefix.index"
local int32s = gdn.array_of "int32_t"

local COLUMNS, GROUPS = 3, 2 -- of the tables: column 2 is the spare
local ECAP = tonumber(lib.GDN_ECAP)

-- An index of two nodes at most, four slots a group, and request 0 with a state in column 0.
local function world()
  local w = { now = 0 }
  w.builder = assert(gdn.builder { device = "cpu", max_num_seqs = 4, max_num_batched_tokens = 64 })
  local kv, pools = ffi.new "gdn_kv *[1]", ffi.new "gdn_slots *[1]"
  assert(lib.gdn_kv_new(w.builder.handle, ffi.new("gdn_kv_config", 12, 4, 4, 8, 1), kv) == 0)
  assert(lib.gdn_slots_new(GROUPS, ffi.new("int32_t[2]", 5, 5), pools) == 0)
  w.kv, w.pools = ffi.gc(kv[0], lib.gdn_kv_free), ffi.gc(pools[0], lib.gdn_slots_free)
  w.index = assert(Index.new { num_groups = GROUPS, block_size = 4, kv_per_block = 1, max_nodes = 2,
                               max_blocks = 16, kv_bytes = 1, state_bytes = 1 })
  w.scratch, w.ids = ffi.new "int32_t[8]", ffi.new("int64_t[8]", 1, 2, 3, 4, 5, 6, 7, 8)
  w.cells, w.tables = ffi.new "int32_t *[2]", {}
  for group = 0, GROUPS - 1 do
    w.tables[group] = int32s(4 * COLUMNS)
    w.cells[group] = w.tables[group]
  end
  assert(lib.gdn_slots_take_each(w.pools, 1, 0, w.cells, 0) == 0)
  assert(lib.gdn_kv_extend(w.kv, 0, 3) == 0)
  return w
end

-- The state in column 0 joins under a first id of its own. to: where it moves. from: what the request holds.
local function keep(w, first_id, to, most, from, blocks)
  w.ids[0] = first_id
  return w.index:keep(w.ids, blocks or 3, w.kv, 0, w.pools, w.cells, 0, to, 0, from or 0, most, w.scratch)
end

local function column(w, at) return { w.tables[0][at], w.tables[1][at] } end

-- The next step: nobody holds what was published last, and its slots are nobody's but the index's.
local function go_on(w, node)
  w.now = w.now + 1
  w.index:advance(w.now)
  w.index:unlock(node)
  assert(lib.gdn_slots_drop_each(w.pools, w.cells, COLUMNS - 1) == 0)
end

local function free(w) return { lib.gdn_slots_least(w.pools), lib.gdn_kv_available(w.kv) } end

local function shown(w, node)
  local slots = ffi.new "int32_t[2]"
  assert(lib.gdn_index_slots(w.index.handle, node, slots) == 0)
  return { slots[0], slots[1] }
end

describe("A state of a table", function()
  it("joins, moves to its place, and leaves fresh slots behind", function()
    local w = world()
    local before = column(w, 0)
    local published = assert(keep(w, 10, COLUMNS - 1, 0))
    assert.are.same({ 3, 1 }, { published.added, published.state_taken })
    assert.are.same(before, shown(w, published.node))
    assert.are.same(before, column(w, COLUMNS - 1))
    assert.are_not.same(before, column(w, 0))
    assert.are.equal(2, lib.gdn_slots_holders(w.pools, 0, before[1]))
    assert.are.same({ 2, 9 }, free(w))
  end)

  it("stays where it is told to, with one holder more", function()
    local w = world()
    local before = column(w, 0)
    assert.are.equal(1, assert(keep(w, 10, -1, 0)).state_taken)
    assert.are.same(before, column(w, 0))
    assert.are.equal(2, lib.gdn_slots_holders(w.pools, 1, before[2]))
  end)

  it("takes the request's hold along, from the state before it to its own", function()
    local w = world()
    local first = assert(keep(w, 10, COLUMNS - 1, 0, 0, 2)).node
    w.index:advance(1)
    assert(lib.gdn_slots_drop_each(w.pools, w.cells, COLUMNS - 1) == 0)
    local second = assert(keep(w, 10, COLUMNS - 1, 0, first)).node
    assert.are.equal(first, w.index:describe(second).parent)
    w.index:unlock(second)
    assert.are.same({ 0, 0 }, { w.index:describe(first).refs, w.index:describe(second).refs })
    assert.are.equal(0, lib.gdn_index_verify(w.index.handle))
  end)

  it("does not move where the index has one already", function()
    local w = world()
    go_on(w, assert(keep(w, 10, COLUMNS - 1, 0)).node)
    local before = column(w, 0)
    local published = assert(keep(w, 10, COLUMNS - 1, 0))
    assert.are.same({ 0, 0 }, { published.added, published.state_taken })
    assert.are.same(before, column(w, 0))
  end)

  it("finds no node: the leaf used longest ago leaves where that is wanted, else nothing changes", function()
    local w = world()
    local first = assert(keep(w, 10, COLUMNS - 1, 0)).node
    go_on(w, first)
    go_on(w, assert(keep(w, 20, COLUMNS - 1, 0)).node)
    local before = free(w)
    assert.is_nil(keep(w, 30, COLUMNS - 1, 0))
    assert.are.same(before, free(w))
    assert.are.equal(first, assert(keep(w, 30, COLUMNS - 1, 8)).node) -- the number is used again
    assert.are.same(before, free(w)) -- a slot taken, a slot free again; all have the request's own blocks
    assert.are.equal(0, lib.gdn_index_verify(w.index.handle))
  end)

  it("finds no slot: one state leaves where that is wanted, else nothing changes", function()
    local w = world()
    for _, id in ipairs { 10, 20 } do go_on(w, assert(keep(w, id, COLUMNS - 1, 0)).node) end
    assert(lib.gdn_slots_take_each(w.pools, 1, 1, w.cells, COLUMNS) == 0) -- the last
    assert.are.equal(0, lib.gdn_slots_least(w.pools))
    local before = column(w, 0)
    assert.is_nil(keep(w, 10, COLUMNS - 1, 0))
    assert.are.same(before, column(w, 0))
    assert.are.equal(1, assert(keep(w, 10, COLUMNS - 1, 8)).state_taken) -- the first in line was its own
    assert.are.same(before, column(w, COLUMNS - 1))
  end)
end)

describe("Room in the index", function()
  it("is made of states, then of leaves, until there is enough or nothing waits", function()
    local w = world()
    for _, id in ipairs { 10, 20 } do go_on(w, assert(keep(w, id, COLUMNS - 1, 0)).node) end
    local function make(kind, wanted)
      return lib.gdn_index_free_up(w.index.handle, kind, wanted, 2, w.kv, w.scratch, w.pools)
    end
    assert.are.same({ 1, 9 }, free(w))
    assert.are.equal(0, make(Index.STATES, 1))
    assert.are.equal(1, make(Index.STATES, 2))
    assert.are.equal(1, make(Index.STATES, 4))
    assert.are.same({ 3, 9 }, free(w))
    assert(lib.gdn_kv_clear(w.kv, 0) == 0)
    assert.are.same({ 3, 9 }, free(w))
    assert.are.equal(3, make(Index.LEAVES, 11)) -- two blocks of one, its last, and two of the other
    assert.are.same({ 3, 11 }, free(w))
  end)

  it("is not made of other kinds, nor without blocks", function()
    local w = world()
    for _, bad in ipairs { { 2, 1, w.kv }, { -1, 1, w.kv }, { 0, 0, w.kv }, { 0, 1, nil } } do
      assert.are_not.equal(ECAP, lib.gdn_index_free_up(w.index.handle, bad[1], 1, bad[2], bad[3], w.scratch,
                                                         w.pools))
    end
  end)
end)
