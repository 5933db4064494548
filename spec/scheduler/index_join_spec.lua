-- An engine's slots and blocks in the index: each place where one is counts as a holder, and what leaves the
-- index is free again where nothing else holds it.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local Index = require "gdnmeta.engine.prefix.index"

local COLUMNS, BLOCK = 8, 4

local function world(per)
  local w = {}
  w.builder = assert(gdn.builder { device = "cpu", max_num_seqs = 4, max_num_batched_tokens = 64 })
  local kv, pools = ffi.new "gdn_kv *[1]", ffi.new "gdn_slots *[1]"
  local config = ffi.new("gdn_kv_config", 32, BLOCK / per, 4, COLUMNS, 1)
  assert(lib.gdn_kv_new(w.builder.handle, config, kv) == 0)
  assert(lib.gdn_slots_new(2, ffi.new("int32_t[2]", 9, 9), pools) == 0)
  w.kv, w.pools = ffi.gc(kv[0], lib.gdn_kv_free), ffi.gc(pools[0], lib.gdn_slots_free)
  w.index = assert(Index.new { num_groups = 2, block_size = BLOCK, kv_per_block = per, max_nodes = 4,
                               max_blocks = 16, kv_bytes = 1, state_bytes = 1 })
  w.scratch, w.ids, w.slots = ffi.new "int32_t[32]", ffi.new("int64_t[8]", 1, 2, 3, 4, 5, 6, 7, 8), nil
  return w
end

-- Row 0 has `columns` blocks, and a state in a slot of each group.
local function request(w, columns)
  assert(lib.gdn_kv_extend(w.kv, 0, columns) == 0)
  local cells, slots = ffi.new "int32_t *[2]", ffi.new "int32_t[2]"
  cells[0], cells[1] = slots, slots + 1
  assert(lib.gdn_slots_take_each(w.pools, 1, 0, cells, 0) == 0)
  w.slots = slots
end

-- The first n blocks of a row join. nil: no room.
local function join(w, n, row, from)
  local published = w.index.published
  local status = lib.gdn_index_join(w.index.handle, w.ids, n, w.kv, row, w.pools, w.slots, from, published)
  if status == lib.GDN_ECAP then return nil end
  return status == 0 and published or error(w.index:message())
end

local function free(w) return lib.gdn_kv_available(w.kv), lib.gdn_slots_least(w.pools) end

local function go(w)
  assert(lib.gdn_kv_clear(w.kv, 0) == 0 and lib.gdn_slots_drop_list(w.pools, w.slots) == 0)
end

describe("Blocks and slots of an engine", function()
  for _, per in ipairs { 1, 2 } do
    it(("stay while the index has them, %d blocks each"):format(per), function()
      local w = world(per)
      request(w, 3 * per)
      local published = assert(join(w, 3, 0, 0))
      local node = published.node
      assert.are.same({ 3, 1 }, { published.added, published.state_taken })
      go(w)
      assert.are.same({ 32 - 3 * per, 7 }, { free(w) })
      w.index:advance(1)
      w.index:unlock(node)
      assert.are.equal(0, w.index:leave(node, 0, nil, nil, w.pools))
      assert.are.same({ 32 - 3 * per, 8 }, { free(w) })
      assert.are.equal(1, w.index:leave(node, 1, w.kv, w.scratch, w.pools))
      assert.are.same({ 32 - 2 * per, 8 }, { free(w) })
      assert.are.equal(2, w.index:leave(node, 64, w.kv, w.scratch, w.pools))
      assert.are.same({ 32, 8 }, { free(w) })
    end)
  end

  it("are held once: what the index knows already, another request keeps for itself", function()
    local w = world(1)
    request(w, 3)
    local first = join(w, 3, 0, 0).node
    go(w)
    w.index:advance(1)
    request(w, 4)
    local published = join(w, 3, 0, 0)
    assert.are.same({ first, 0, 0 }, { published.node, published.added, published.state_taken })
    published = join(w, 4, 0, published.node)
    assert.are.same({ 1, 1 }, { published.added, published.state_taken })
    go(w)
    assert.are.same({ 32 - 4, 6 }, { free(w) })
  end)

  it("are not taken where the index has no room or refuses", function()
    local w = world(1)
    request(w, 3)
    for k = 1, 4 do
      w.ids[0] = 100 * k
      assert(join(w, 1, 0, 0))
    end
    w.ids[0] = 1000
    assert.is_nil(join(w, 1, 0, 0))
    assert.has_error(function() join(w, 4, 0, 0) end)
    assert.has_error(function() join(w, 1, 4, 0) end)
    assert.has_error(function() w.index:leave(99, 0, nil, nil, w.pools) end)
    assert.are.equal(5, lib.gdn_slots_holders(w.pools, 0, w.slots[0]))
    assert.are.equal(5, lib.gdn_kv_holders(w.kv, lib.gdn_kv_table(w.kv)[0]))
  end)
end)
