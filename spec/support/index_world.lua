-- An index with attention blocks and pools, all of them scarce, and every call that it takes with arguments
-- that are often just wrong. What can be seen of all three, as a sum.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local array_of = require "gdnmeta.array_of"

local int32s, int64s, doubles = array_of "int32_t", array_of "int64_t", array_of "double"
local GROUPS, PER, ROWS, COLUMNS, BLOCKS, NODES, CELLS = 2, 2, 3, 12, 40, 9, 6

local OF_NODE = { "last_use", "created", "state_use", "leaf_value", "state_value", "tokens", "kv_bytes",
  "state_bytes", "parent_gap", "parent", "first_child", "next", "depth", "length", "children", "refs",
  "state_refs", "pins", "hits", "state_hits", "passes", "mark", "num_states", "place", "leaf_is_new",
  "state_is_new" }
local OF_INDEX = { "matches", "locks", "state_hits", "blocks_published", "states_published", "states_used",
  "states_unused", "states_moved", "blocks_evicted", "nodes_evicted", "states_evicted", "kv_bytes",
  "state_bytes", "nodes", "blocks", "states", "host_states", "leaves", "max_nodes", "max_blocks",
  "pinned_blocks", "pinned_states", "peak_blocks" }
local OF_HIT = { "kv_tokens", "state_tokens", "host_tokens", "junction", "kv_hit", "state_hit", "host_hit",
  "node", "state_node", "host_node", "num_blocks", "num_nodes" }
local OF_PUBLISHED = { "node", "known", "added", "state_taken" }

local M = {}
M.__index = M

function M.new(rand)
  local w = setmetatable({ rand = rand, now = 0, last = 0, locked = 0, read = 0, pinned = 0 }, M)
  w.builder = assert(gdn.builder { device = "cpu", max_num_seqs = 4, max_num_batched_tokens = 64 })
  local kv, pools, index = ffi.new "gdn_kv *[1]", ffi.new "gdn_slots *[1]", ffi.new "gdn_index *[1]"
  assert(lib.gdn_kv_new(w.builder.handle, ffi.new("gdn_kv_config", BLOCKS, 2, ROWS, COLUMNS, 1), kv) == 0)
  assert(lib.gdn_slots_new(GROUPS, int32s(2, { 9, 8 }), pools) == 0)
  local config = ffi.new("gdn_index_config", ffi.sizeof "gdn_index_config", GROUPS, 4, PER, NODES, 18, 3, 100)
  assert(lib.gdn_index_new(config, index, nil, 0) == 0)
  w.kv, w.pools, w.index = kv[0], pools[0], index[0]
  w.ids, w.numbers, w.kv_out, w.slots = int64s(16), int32s(64), int32s(64), int32s(GROUPS)
  w.nodes, w.values, w.old = int32s(256), doubles(256), int32s(GROUPS)
  w.hit, w.watch = ffi.new "gdn_index_hit", ffi.new "gdn_index_watch"
  w.published = ffi.new "gdn_index_published"
  w.node, w.stats, w.tables = ffi.new "gdn_index_node", ffi.new "gdn_index_stats", ffi.new "int32_t *[2]"
  w.cells = { [0] = int32s(CELLS), int32s(CELLS) }
  w.tables[0], w.tables[1] = w.cells[0], w.cells[1]
  return w
end

function M:close()
  lib.gdn_index_free(self.index)
  lib.gdn_slots_free(self.pools)
  lib.gdn_kv_free(self.kv)
  self.builder:close()
end

-- A path of few letters, so that paths meet.
function M:path()
  local rand, n = self.rand, self.rand(1, 6)
  for k = 0, n - 1 do self.ids[k] = rand(0, k < 2 and 1 or 2) end
  if rand(1, 60) == 1 then self.ids[rand(0, n - 1)] = rand(1, 2) == 1 and -1 or 2LL ^ 53 end
  return self.ids, rand(1, 40) == 1 and rand(-1, 0) or n
end

-- Mostly a node that a call may take: the last one that another call left so, or the first in a line.
function M:any_node(which)
  local k = self.rand(1, 12)
  if k == 1 then return self.rand(-1, NODES + 1) end
  if k <= 3 then return self.rand(1, NODES) end
  return which == "first" and lib.gdn_index_first(self.index, self.rand(0, 2)) or self[which] or self.last
end

function M:some_slots()
  for g = 0, GROUPS - 1 do self.slots[g] = self.rand(1, 12) == 1 and self.rand(-2, -1) or self.rand(0, 8) end
  return self.slots
end

-- Slots that pools know, of a place of the tables.
function M:own_slots()
  local at = self.rand(0, CELLS - 1)
  for g = 0, GROUPS - 1 do self.slots[g] = self.cells[g][at] end
  return self.slots
end

local calls = {}
M.calls = calls

function calls.advance(w)
  w.now = w.now + w.rand(0, 2) / 2
  return lib.gdn_index_advance(w.index, w.rand(1, 40) == 1 and 0 / 0 or w.now)
end
function calls.match(w)
  local ids, n = w:path()
  return lib.gdn_index_match(w.index, ids, n, w.rand(-1, 26), w.hit)
end
function calls.watch(w)
  local ids, n = w:path()
  local limit = w.rand(0, 26)
  local status = lib.gdn_index_match(w.index, ids, n, limit, w.hit)
  return status ~= 0 and status or lib.gdn_index_watch_hit(w.index, ids, n, limit, w.hit, w.watch)
end
function calls.look(w)
  if w.rand(1, 30) == 1 then w.watch.node = w.rand(-1, NODES + 1) end
  return lib.gdn_index_has_changed(w.index, w.watch)
end
function calls.lock(w)
  local ids, n = w:path()
  if lib.gdn_index_match(w.index, ids, n, 4 * n, w.hit) ~= 0 then return 0 end
  local odd = w.rand(1, 12)
  if odd == 1 then w.hit.node = w.rand(-1, NODES + 1)
  elseif odd == 2 then w.hit.kv_hit = w.hit.kv_hit + w.rand(-1, 1)
  elseif odd == 3 then w.hit.state_node = w.rand(-1, NODES + 1)
  elseif odd == 4 then w.hit.state_node, w.hit.host_node = 0, w.rand(0, NODES)
  elseif odd <= 7 then w.hit.state_node, w.hit.host_node = 0, 0 end
  local status = lib.gdn_index_lock(w.index, w.hit)
  if status == 0 then
    w.locked = w.hit.node
    if w.hit.state_node > 0 then w.read = w.hit.state_node end
  end
  return status
end
function calls.unlock(w) return lib.gdn_index_unlock(w.index, w:any_node "locked") end
function calls.unlock_state(w) return lib.gdn_index_unlock_state(w.index, w:any_node "read") end
function calls.publish(w)
  local ids, n = w:path()
  for k = 0, 12 do w.numbers[k] = w.rand(0, BLOCKS) end
  if w.rand(1, 40) == 1 then w.numbers[w.rand(0, 12)] = -1 end
  local from = w.rand(1, 4) == 1 and w:any_node "locked" or 0
  local status = lib.gdn_index_publish(w.index, ids, n, w.rand(1, 20) > 1 and w.numbers or nil,
    w.rand(1, 2) == 1 and w:some_slots() or nil, from, w.rand(0, 1), w.rand(-2, 2), w.published)
  if status == 0 then w.last = w.published.node end
  return status
end
function calls.pin(w)
  local node = w:any_node "locked"
  local status = lib.gdn_index_pin(w.index, node, w.rand(1, 2) == 1 and -1 or w.rand(0, 9), w.rand(-1, 2))
  if status == 0 then w.pinned = node end
  return status
end
function calls.unpin(w) return lib.gdn_index_unpin(w.index, w:any_node "pinned") end
function calls.candidates(w)
  local most = w.rand(1, 9) == 1 and w.rand(256, 257) or w.rand(0, 6)
  return lib.gdn_index_candidates(w.index, w.rand(-1, 3), most, w.nodes, w.values)
end
function calls.rate(w)
  local n = w.rand(0, 4)
  for k = 0, n - 1 do
    w.nodes[k] = w.rand(1, 30) == 1 and w.rand(-1, NODES + 1) or w.rand(1, NODES)
    w.values[k] = w.rand(-3, 3)
  end
  local kind = w.rand(1, 9) == 1 and w.rand(-1, 3) or w.rand(0, 2)
  return lib.gdn_index_rate(w.index, kind, w.nodes, w.values, n)
end
function calls.first(w) return lib.gdn_index_first(w.index, w.rand(-1, 3)) end
function calls.drop_state(w) return lib.gdn_index_drop_state(w.index, w:any_node "first", w.old) end
function calls.move_state(w)
  return lib.gdn_index_move_state(w.index, w:any_node(w.rand(1, 2) == 1 and "first" or "last"),
    w.rand(1, 12) == 1 and w.rand(-1, 2) or w.rand(0, 1), w:some_slots(), w.old)
end
function calls.evict(w)
  return lib.gdn_index_evict(w.index, w:any_node "first", w.rand(0, 3), w.rand(1, 20) > 1 and w.kv_out or nil,
    w.old)
end
function calls.join(w)
  local ids, n = w:path()
  local status = lib.gdn_index_join(w.index, ids, n, w.rand(1, 8) > 1 and w.kv or nil,
    w.rand(1, 20) == 1 and w.rand(-1, ROWS) or w.rand(0, ROWS - 1), w.pools,
    w.rand(1, 9) > 1 and w:own_slots() or w:some_slots(), w.rand(1, 4) == 1 and w:any_node "locked" or 0,
    w.published)
  if status == 0 then w.last, w.locked = w.published.node, w.published.node end
  return status
end
function calls.leave(w)
  local node = w:any_node(w.rand(1, 2) == 1 and "first" or "last")
  return lib.gdn_index_leave(w.index, node, w.rand(-1, 3), w.rand(1, 5) > 1 and w.kv or nil,
    w.rand(1, 20) > 1 and w.kv_out or nil, w.pools)
end
function calls.free_up(w)
  return lib.gdn_index_free_up(w.index, w.rand(1, 9) == 1 and w.rand(-1, 2) or w.rand(0, 1), w.rand(0, 20),
    w.rand(0, 3), w.rand(1, 9) > 1 and w.kv or nil, w.kv_out, w.pools)
end
function calls.keep(w)
  local ids, n = w:path()
  local status = lib.gdn_index_keep(w.index, ids, n, w.kv, w.rand(0, ROWS - 1), w.pools, w.tables,
    w.rand(1, 20) == 1 and -1 or w.rand(0, CELLS - 1), w.rand(-1, CELLS - 1), w.rand(-1, 2),
    w.rand(1, 4) == 1 and w:any_node "locked" or 0, w.rand(0, 3), w.kv_out, w.published)
  if status == 0 then w.last, w.locked = w.published.node, w.published.node end
  return status
end
function calls.read(w)
  return lib.gdn_index_read(w.index, w:any_node "last", w.rand(-1, 4), w.rand(-1, 4),
    w.rand(1, 5) > 1 and w.ids or nil, w.rand(1, 5) > 1 and w.kv_out or nil)
end
-- What requests of an engine do with blocks and slots.
function calls.extend(w) return lib.gdn_kv_extend(w.kv, w.rand(0, ROWS - 1), w.rand(0, COLUMNS)) end
function calls.clear(w) return lib.gdn_kv_clear(w.kv, w.rand(0, ROWS - 1)) end
function calls.take(w)
  return lib.gdn_slots_take_each(w.pools, 1, w.rand(0, 3), w.tables, w.rand(0, CELLS - 1))
end
function calls.let_go(w) return lib.gdn_slots_drop_each(w.pools, w.tables, w.rand(0, CELLS - 1)) end

local function fields(sum, struct, names)
  for _, name in ipairs(names) do sum:number(struct[name]) end
end

--- All that can be seen.
function M:see(sum)
  sum:text(ffi.string(lib.gdn_index_error(self.index)))
  fields(sum, self.hit, OF_HIT)
  fields(sum, self.published, OF_PUBLISHED)
  fields(sum, self.watch, { "next_id", "node", "kv_hit", "state_node", "host_node" })
  for i = -1, NODES + 1 do
    local status = lib.gdn_index_describe(self.index, i, self.node)
    sum:number(status)
    sum:number(lib.gdn_index_slots(self.index, i, self.old))
    sum:number(lib.gdn_index_read(self.index, i, 0, 0, self.ids, self.kv_out))
    if status == 0 then
      fields(sum, self.node, OF_NODE)
      sum:number(lib.gdn_index_slots(self.index, i, self.old))
      sum:array(self.old, GROUPS)
      sum:number(lib.gdn_index_read(self.index, i, 0, self.node.depth, self.ids, self.kv_out))
      sum:array(self.ids, self.node.depth)
      sum:array(self.kv_out, PER * self.node.depth)
    end
  end
  lib.gdn_index_describe_all(self.index, self.stats)
  fields(sum, self.stats, OF_INDEX)
  for kind = 0, 2 do sum:number(lib.gdn_index_first(self.index, kind)) end
  sum:number(lib.gdn_index_verify(self.index))
  sum:text(ffi.string(lib.gdn_index_error(self.index)))
  for block = 0, BLOCKS - 1 do sum:number(lib.gdn_kv_holders(self.kv, block)) end
  for g = 0, GROUPS - 1 do
    sum:array(self.cells[g], CELLS)
    for slot = 0, 8 do sum:number(lib.gdn_slots_holders(self.pools, g, slot)) end
  end
end

return M
