-- Counts of holders are numbers of 31 bits: who would pass the last one is refused, and nothing is counted.
-- Also what pools and attention blocks that an index does not know say to it. Against spec/goldens/texts.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local noted = require "spec.support.noted"
local small = require "spec.support.small_index"

local MOST = 2 ^ 31 - 1
local notes = noted.new "holders-"
local note, check = notes.note, notes.check

-- Structs as their files have them.
local function declare(path, pattern)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  ffi.cdef((assert(text:match(pattern), path):gsub("GDN_KV_STEPS", "4"):gsub("GDN_MAX_GROUPS", "64")))
end
ffi.cdef "typedef struct gdn_device gdn_device;"
declare("src/scheduler/kv_blocks.h", "\n(struct gdn_kv {.-\n};)")
declare("src/scheduler/slot_pool.c", "\n(typedef struct pool {.-\n} pool;)")
declare("src/scheduler/slot_pool.c", "\n(struct gdn_slots {.-\n};)")

local function kv_of(builder, columns)
  local out = ffi.new "gdn_kv *[1]"
  assert(lib.gdn_kv_new(builder.handle, ffi.new("gdn_kv_config", 8, 4, 3, columns, 2), out) == 0)
  return ffi.gc(out[0], lib.gdn_kv_free)
end

local function slots_of(groups)
  local out = ffi.new "gdn_slots *[1]"
  assert(lib.gdn_slots_new(groups, ffi.new("int32_t[2]", 5, 5), out) == 0)
  return ffi.gc(out[0], lib.gdn_slots_free)
end

describe("A count of holders", function()
  before_each(notes.clear)

  it("of a block ends at 2^31 - 1", function()
    local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 4 })
    for _, name in ipairs { "hold", "share", "drop" } do
      for n = 1, 3 do
        for _, held in ipairs { 0, 1, 2, 3, MOST - 4, MOST - 3, MOST - 2, MOST - 1, MOST } do
          local kv = kv_of(builder, 4)
          local inside = ffi.cast("struct gdn_kv *", kv)
          assert(lib.gdn_kv_extend(kv, 0, 2) == 0)
          inside.holders[1] = held
          local blocks = ffi.new("int32_t[3]", 1, 1, 1)
          local status = name == "share" and lib.gdn_kv_share(kv, 1, blocks, n)
            or name == "hold" and lib.gdn_kv_hold(kv, blocks, n)
            or name == "drop" and lib.gdn_kv_drop(kv, blocks, n)
          note(name, n, ("%d"):format(held), tonumber(status), ("%d"):format(lib.gdn_kv_holders(kv, 1)),
            lib.gdn_kv_available(kv), lib.gdn_kv_length(kv, 1))
        end
      end
    end
    builder:close()
    check "blocks"
  end)

  it("of a slot ends at 2^31 - 1", function()
    for _, held in ipairs { 0, 1, 2, MOST - 1, MOST } do
      for group = -1, 2 do
        for slot = -1, 5 do
          local s, taken = slots_of(2), ffi.new "int32_t[1]"
          local inside = ffi.cast("struct gdn_slots *", s)
          for g = 0, 1 do assert(lib.gdn_slots_take(s, g, 1, 7, taken) == 0) end
          if group == 0 or group == 1 then inside.pools[group].holders[1] = held end
          local status = tonumber(lib.gdn_slots_share(s, group, slot))
          local function holders(g, of) return ("%d"):format(lib.gdn_slots_holders(s, g, of)) end
          local case = ("of %d, group %d, slot %d"):format(held, group, slot)
          note("share", case, status, holders(group, slot))
          local each = ffi.new("int32_t[2]", 1, 1)
          if group == 0 then each[0] = slot else each[1] = slot end
          status = tonumber(lib.gdn_slots_share_each(s, each, nil, 0))
          note("share each", case, status, holders(0, 1), holders(1, 1))
        end
      end
    end
    check "slots"
  end)

  it("of others is none of an index's, which says so", function()
    local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 4 })
    local pools, kv, out = slots_of(2), kv_of(builder, 8), ffi.new "int32_t[64]"
    local cells, published = ffi.new "int32_t *[2]", ffi.new "gdn_index_published"
    local columns = { ffi.new "int32_t[8]", ffi.new "int32_t[8]" }
    cells[0], cells[1] = columns[1], columns[2]
    assert(lib.gdn_slots_take_each(pools, 4, 0, cells, 0) == 0) -- none is left
    local function world() -- slots and blocks of other pools
      local index = small.filled({ kv_per_block = 1 }, "abc", "xy")
      assert(lib.gdn_index_verify(index.handle) == 0)
      return index
    end
    local function state(index)
      local s = index:stats()
      return ("%d nodes, %d states"):format(s.nodes, s.states)
    end
    for kind = 0, 2 do
      local index = world()
      local status = tonumber(lib.gdn_index_free_up(index.handle, kind, 3, 2, kv, out, pools))
      note("free up", kind, status, ffi.string(lib.gdn_index_error(index.handle)), state(index))
    end
    for most = 0, 2 do
      local index = world()
      local status = tonumber(lib.gdn_index_leave(index.handle, 1, most, kv, out, pools))
      note("leave", most, status, ffi.string(lib.gdn_index_error(index.handle)), state(index))
    end
    -- The slots are theirs, the blocks are not; then some of the slots are not.
    local function holders() return lib.gdn_slots_holders(pools, 0, 1), lib.gdn_slots_holders(pools, 1, 1) end
    for most = 0, 4 do
      local index = small.new { kv_per_block = 1 }
      small.publish(index, "abc", small.slots_of(1, 1))
      small.step(index)
      assert(lib.gdn_slots_share_each(pools, small.slots_of(1, 1), nil, 0) == 0)
      local status = tonumber(lib.gdn_index_leave(index.handle, 1, most, kv, out, pools))
      note("leave half", most, status, ffi.string(lib.gdn_index_error(index.handle)), state(index), holders())
      if status < 0 then assert(lib.gdn_slots_drop_list(pools, small.slots_of(1, 1)) == 0) end
    end
    for _, c in ipairs { { 1, 1 }, { 0, 1 }, { 1, 0 }, { 1, -1 }, { 5, 1 }, { 1, 5 }, { 2, 3 } } do
      local index = small.new { kv_per_block = 0 }
      local words, n = small.ids_of "abc"
      for _ = 1, 2 do -- the second time its blocks and a state are known
        local status = tonumber(lib.gdn_index_join(index.handle, words, n, nil, 0, pools,
          small.slots_of(c[1], c[2]), 0, published))
        note("join", c, status, ffi.string(lib.gdn_index_error(index.handle)), state(index), holders())
      end
      small.step(index)
    end
    local ids = small.ids_of "kept"
    for _, c in ipairs { { 2, 1, 0 }, { 2, 0, 0 }, { -1, 1, 0 }, { -1, 0, 0 }, { -1, 0, -1 },
                         { -1, 1, -9 } } do
      local index = world()
      local status = tonumber(lib.gdn_index_keep(index.handle, ids, 4, nil, 0, pools, cells, c[3], c[1], 0, 0,
        c[2], out, published))
      note("keep", c, status, ffi.string(lib.gdn_index_error(index.handle)), state(index))
    end
    -- No room for one more node: leaves are of other pools, or wait for nothing.
    for _, kind in ipairs { "of others", "pinned" } do
      local full = small.filled({ kv_per_block = 0, max_nodes = 2 }, "abc", "xy")
      for node = 1, kind == "pinned" and 2 or 0 do
        assert(lib.gdn_index_pin(full.handle, node, -1, -1) == 0)
      end
      for most = 0, 1 do
        local status = tonumber(lib.gdn_index_keep(full.handle, ids, 4, nil, 0, pools, cells, 0, -1, 0, 0,
          most, out, published))
        note("full", kind, most, status, ffi.string(lib.gdn_index_error(full.handle)), state(full))
      end
    end
    local index = world()
    local words = small.ids_of "abc"
    for n = 1, 4 do
      local status = tonumber(lib.gdn_index_publish(index.handle, words, n, nil, nil, 0, 0, -1, published))
      note("without kv", n, status, status == 0 and "" or ffi.string(lib.gdn_index_error(index.handle)))
    end
    builder:close()
    check "of-others"
  end)
end)
