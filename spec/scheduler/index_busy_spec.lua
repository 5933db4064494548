-- What is used, pinned, of this step or not there does not leave an index, and what it does not have is not
-- read: every call with every node of an index, and what is said, against spec/goldens/texts.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local noted = require "spec.support.noted"
local small = require "spec.support.small_index"

local notes = noted.new "index-"
local note, check = notes.note, notes.check

-- One node of each kind, by the first letters of its path; and the paths of all.
local function make()
  local index, next_slot = small.new { max_nodes = 12 }, 10
  local h = index.handle
  local function slots_of()
    next_slot = next_slot + 2
    return small.slots_of(next_slot, next_slot + 1)
  end
  local function node(text) return small.match(index, text).node end
  for text in ("inner innerleaf stateless locked pinned read hosted grown"):gmatch "%w+" do
    small.publish(index, text, text ~= "stateless" and slots_of() or nil)
  end
  small.publish(index, "group", small.slots_of(7, -1))
  small.step(index)
  local locked = small.match(index, "locked")
  locked.state_node = 0
  assert(lib.gdn_index_lock(h, locked) == 0)
  local read = small.match(index, "read")
  assert(lib.gdn_index_lock(h, read) == 0)
  assert(lib.gdn_index_unlock(h, read.node) == 0)
  assert(lib.gdn_index_pin(h, node "pinned", -1, -1) == 0)
  assert(lib.gdn_index_move_state(h, node "hosted", 1, slots_of(), ffi.new "int32_t[2]") == 0)
  small.step(index)
  small.publish(index, "grownmore", nil)
  small.publish(index, "fresh", slots_of())
  local names = {}
  for i = 1, 12 do names[i] = small.text_of(index, i) end
  return index, names
end

describe("A busy index", function()
  before_each(notes.clear)

  local slots, kv = ffi.new "int32_t[2]", ffi.new "int32_t[64]"
  local word = ffi.new "int64_t[64]"
  local function locks(fields)
    return function(h, node, index)
      local hit = ffi.new "gdn_index_hit"
      ffi.copy(hit, small.match(index, "locked"), ffi.sizeof(hit))
      for name, value in pairs(fields) do hit[name] = value == "node" and node or value end
      return lib.gdn_index_lock(h, hit)
    end
  end
  local function moves(place, second)
    return function(h, node)
      return lib.gdn_index_move_state(h, node, place, ffi.new("int32_t[2]", 3, second), slots)
    end
  end
  local function status_of(index, status)
    status = tonumber(status)
    return status, status < 0 and ffi.string(lib.gdn_index_error(index.handle)) or "taken"
  end
  local CALLS = {
    { "drop_state", function(h, node) return lib.gdn_index_drop_state(h, node, slots) end },
    { "move_state to the host", moves(1, 4) }, { "move_state to the device", moves(0, 4) },
    { "move_state of one group", moves(1, -1) },
    { "evict", function(h, node) return lib.gdn_index_evict(h, node, 2, kv, slots) end },
    { "evict all", function(h, node) return lib.gdn_index_evict(h, node, 64, kv, slots) end },
    { "unlock", function(h, node) return lib.gdn_index_unlock(h, node) end },
    { "unlock_state", function(h, node) return lib.gdn_index_unlock_state(h, node) end },
    { "pin", function(h, node) return lib.gdn_index_pin(h, node, -1, -1) end },
    { "pin few blocks", function(h, node) return lib.gdn_index_pin(h, node, 11, -1) end },
    { "pin few states", function(h, node) return lib.gdn_index_pin(h, node, -1, 1) end },
    { "unpin", function(h, node) return lib.gdn_index_unpin(h, node) end },
    { "lock at", locks { node = "node", state_node = 0, kv_hit = 6 } },
    { "lock to read", locks { state_node = "node" } },
    { "lock to read from the host", locks { state_node = 0, host_node = "node" } },
    { "lock nothing to read", locks { node = 0, kv_hit = 0, state_node = "node" } },
    { "slots", function(h, node) return lib.gdn_index_slots(h, node, slots) end },
    { "read", function(h, node) return lib.gdn_index_read(h, node, 4, 2, word, nil) end },
    { "describe", function(h, node) return lib.gdn_index_describe(h, node, ffi.new "gdn_index_node") end },
  }
  it("takes calls or refuses them", function()
    local _, names = make()
    for _, call in ipairs(CALLS) do
      for node = -1, 14 do
        ffi.fill(slots, 8)
        local index = make()
        local status, said = status_of(index, call[2](index.handle, node, index))
        note(call[1], names[node] or node, status, said, slots[0], slots[1])
        assert.are.equal(0, lib.gdn_index_verify(index.handle))
      end
    end
    check "busy"
  end)

  it("gives as many candidates as there is room for, and writes no more", function()
    for kind = 0, 2 do
      for most = 1, 14 do
        local index = make()
        local nodes, values = ffi.new "int32_t[16]", ffi.new "double[16]"
        for k = 0, 15 do nodes[k], values[k] = -5, -5 end
        local n = tonumber(lib.gdn_index_candidates(index.handle, kind, most, nodes, values))
        for k = 0, 15 do
          assert.are.equal(k >= n, nodes[k] == -5)
          assert.are.equal(k >= n, values[k] == -5)
        end
        note("candidates", kind, most, n)
      end
    end
    check "busy-candidates"
  end)

  it("is watched where the match that is given can be", function()
    local index = make()
    local ids = small.ids_of "innerleaf"
    for _, c in ipairs { { -1, 36, 0 }, { 0, 36, 0 }, { 9, -4, 0 }, { 9, 36, -1 }, { 9, 36, 9 },
                         { 9, 36, 10 }, { 9, 12, 3 }, { 9, 12, 4 }, { 9, 36, 5 }, { 4, 36, 5 } } do
      local hit, watch = ffi.new "gdn_index_hit", ffi.new "gdn_index_watch"
      ffi.copy(hit, small.match(index, "innerleaf"), ffi.sizeof(hit))
      hit.kv_hit = c[3]
      local result = lib.gdn_index_watch_hit(index.handle, ids, c[1], c[2], hit, watch)
      local status, said = status_of(index, result)
      note("watch", c, status, said, ("%d %d %d"):format(tonumber(watch.next_id), watch.node, watch.kv_hit))
    end
    for _, node in ipairs { -1, 0, 1, 9, 10, 12, 13 } do
      local hit, watch = ffi.new "gdn_index_hit", ffi.new "gdn_index_watch"
      ffi.copy(hit, small.match(index, "innerleaf"), ffi.sizeof(hit))
      hit.node = node
      local result = lib.gdn_index_watch_hit(index.handle, ids, 9, 36, hit, watch)
      note("watch node", node, status_of(index, result))
      watch.node = node
      note("has changed", node, status_of(index, lib.gdn_index_has_changed(index.handle, watch)))
    end
    check "busy-watch"
  end)
end)
