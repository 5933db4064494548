-- A prefix cache's index for Lua: gdn_index of gdnmeta_prefix_index.h, which says what each call means.
-- Its nodes, as policies see and rate them, are in index_nodes.lua.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local hook_tables = require "gdnmeta.engine.prefix.hook_tables"
local nodes = require "gdnmeta.engine.prefix.index_nodes"
local owned = require "gdnmeta.native.owned"
local refused = require "gdnmeta.engine.prefix.refused"

local out_t, config_t = ffi.typeof "gdn_index *[1]", ffi.typeof "gdn_index_config"
local hit_t, published_t = ffi.typeof "gdn_index_hit", ffi.typeof "gdn_index_published"
local node_t, stats_t = ffi.typeof "gdn_index_node", ffi.typeof "gdn_index_stats"
local why_t = ffi.typeof "char[256]"
local MAX_BATCH = tonumber(lib.GDN_INDEX_MAX_BATCH)
local nodes_t = ffi.typeof("int32_t[" .. MAX_BATCH .. "]")
local values_t = ffi.typeof("double[" .. MAX_BATCH .. "]")
local slots_t = ffi.typeof "int32_t[64]"

local Index = { LEAVES = 0, STATES = 1, HOST = 2, DEVICE = 0, MAX_BATCH = MAX_BATCH }
Index.__index = Index

for name, method in pairs(nodes) do Index[name] = method end

local FULL = tonumber(lib.GDN_ECAP)

function Index:message() return ffi.string(lib.gdn_index_error(self.handle)) end

-- Anchors `lib`: cdata finalizers may run after every other reference to the library is gone.
local function free(handle) lib.gdn_index_free(handle) end
local function forget(self) self.handle = nil end

--- An index. options: num_groups, block_size, kv_per_block, max_nodes, max_blocks, kv_bytes, state_bytes.
---@param options table
---@return table|nil index, string? message, integer? code
function Index.new(options)
  local config, out, why = config_t(ffi.sizeof(config_t)), out_t(), why_t()
  for name, value in pairs(options) do config[name] = value end
  local status = lib.gdn_index_new(config, out, why, 256)
  if status ~= 0 then return nil, "index: " .. ffi.string(why), status end
  local self = setmetatable({
    now = 0, block_size = config.block_size, num_groups = config.num_groups,
    kv_per_block = config.kv_per_block,
    hit = hit_t(), published = published_t(), slots = slots_t(), numbers = nodes_t(), doubles = values_t(),
    node = node_t(), batch = {}, own = {}, values = {}, few = { [0] = 0, 0, 0 },
    many_new = { [0] = false, false, false },
  }, Index)
  for k = 1, MAX_BATCH do self.own[k], self.values[k] = hook_tables.blank(), 0 end
  self.handle, self.release = owned.new(out[0], free, self, forget)
  return self
end

function Index:close()
  if self.handle then self.release(self.handle) end
end

--- A step begins.
function Index:advance(now)
  local status = lib.gdn_index_advance(self.handle, now)
  if status ~= 0 then refused(self, status) end
  self.now = now
end

--- What is there of int64 ids[n], within `limit` tokens.
---@return ffi.cdata* hit gdn_index_hit, the index's own until the next match
function Index:match(ids, n, limit)
  local status = lib.gdn_index_match(self.handle, ids, n, limit, self.hit)
  if status ~= 0 then refused(self, status) end
  return self.hit
end

--- What that match depends on, for has_changed(): of the same ids, n and limit, before anything else is
--- called.
---@param watch ffi.cdata* gdn_index_watch to be filled
function Index:watch(ids, n, limit, watch)
  local status = lib.gdn_index_watch_hit(self.handle, ids, n, limit, self.hit, watch)
  if status ~= 0 then refused(self, status) end
end

---@return boolean may a match find something else in this step?
function Index:has_changed(watch)
  local answer = lib.gdn_index_has_changed(self.handle, watch)
  if answer < 0 then refused(self, answer) end
  return answer == 1
end

--- Who of a queue a match may find something else for; see gdn_index_list_changed.
---@param out ffi.cdata* int32 [most] to be filled
---@return integer n
function Index:list_changed(watches, sought, num_ids, next, first, most, out)
  local n = lib.gdn_index_list_changed(self.handle, watches, sought, num_ids, next, first, most, out)
  if n < 0 then refused(self, n) end
  return n
end

--- Takes what the last match found; see gdn_index_lock for how to take less.
---@return ffi.cdata* hit with what is locked
function Index:lock()
  local status = lib.gdn_index_lock(self.handle, self.hit)
  if status ~= 0 then return refused(self, status) end
  return self.hit
end

function Index:unlock(node)
  local status = lib.gdn_index_unlock(self.handle, node)
  if status ~= 0 then refused(self, status) end
end

function Index:unlock_state(node)
  local status = lib.gdn_index_unlock_state(self.handle, node)
  if status ~= 0 then refused(self, status) end
end

--- ids[n] join, with kv and slots as in gdn_index_publish.
---@return ffi.cdata*|nil published gdn_index_published, the index's own; nil: no room
function Index:publish(ids, n, kv, slots, from, move, mark)
  local status = lib.gdn_index_publish(self.handle, ids, n, kv, slots, from or 0, move and 1 or 0, mark or -1,
                                       self.published)
  if status ~= 0 then return refused(self, status) end
  return self.published
end

--- The same for a request of an engine, with the blocks of its row of kv, nil: none, and the state in place
--- `at` of the tables, which then moves to place `to`, -1: it stays. The request's lock on `from`, 0: none,
--- moves to the end, and what has joined has one holder more. most > 0: others leave where there is no room;
--- kv_out has room for so many blocks. See gdn_index_keep.
---@return ffi.cdata*|nil published nil: no room, of which nothing is said
function Index:keep(ids, n, kv, row, pools, tables, at, to, owner, from, most, kv_out)
  local status = lib.gdn_index_keep(self.handle, ids, n, kv, row, pools, tables, at, to, owner, from, most,
                                    kv_out, self.published)
  if status == 0 then return self.published end
  if status ~= FULL then refused(self, status) end
end

---@return boolean|nil pinned, string? message, integer? code
function Index:pin(node, max_blocks, max_states)
  local status = lib.gdn_index_pin(self.handle, node, max_blocks or -1, max_states or -1)
  if status ~= 0 then return refused(self, status) end
  return true
end

function Index:unpin(node)
  local status = lib.gdn_index_unpin(self.handle, node)
  if status ~= 0 then refused(self, status) end
end

---@return ffi.cdata* slots int32 [num_groups], the index's own
function Index:drop_state(node)
  local status = lib.gdn_index_drop_state(self.handle, node, self.slots)
  if status ~= 0 then refused(self, status) end
  return self.slots
end

---@return ffi.cdata* slots those that the state had, the index's own
function Index:move_state(node, place, slots)
  local status = lib.gdn_index_move_state(self.handle, node, place, slots, self.slots)
  if status ~= 0 then refused(self, status) end
  return self.slots
end

--- Takes up to `most` blocks from the end of a leaf. kv has room for most * kv_per_block numbers.
---@return integer blocks, ffi.cdata* slots -1: none
function Index:evict(node, most, kv)
  local gone = lib.gdn_index_evict(self.handle, node, most, kv, self.slots)
  if gone < 0 then refused(self, gone) end
  return gone, self.slots
end

--- A node's state leaves, or up to `most` > 0 blocks from the end of a leaf: they have one holder less.
---@return integer blocks that have left
function Index:leave(node, most, kv, scratch, pools)
  local gone = lib.gdn_index_leave(self.handle, node, most, kv, scratch, pools)
  if gone < 0 then refused(self, gone) end
  return gone
end

--- The least of a kind leaves.
---@return integer node 0: nothing waits
---@return integer blocks that have left
function Index:leave_first(kind, most, kv, scratch, pools)
  local node = lib.gdn_index_first(self.handle, kind)
  if node == 0 then return 0, 0 end
  return node, self:leave(node, most, kv, scratch, pools)
end

--- The least of a kind leave until so many slots are free in each group, or blocks.
function Index:free_up(kind, wanted, most, kv, scratch, pools)
  local left = lib.gdn_index_free_up(self.handle, kind, wanted, most, kv, scratch, pools)
  if left < 0 then refused(self, left) end
end

--- What the index counts: gdn_index_stats, as numbers.
---@param into table|nil filled where it is given
function Index:stats(into)
  local c, t = stats_t(), into or {}
  lib.gdn_index_describe_all(self.handle, c)
  for _, name in ipairs(Index.STATS) do t[name] = tonumber(c[name]) end
  return t
end

Index.STATS = {
  "matches", "locks", "state_hits", "blocks_published", "states_published", "states_used", "states_unused",
  "states_moved", "blocks_evicted", "nodes_evicted", "states_evicted", "kv_bytes", "state_bytes", "nodes",
  "blocks", "states", "host_states", "leaves", "max_nodes", "max_blocks", "pinned_blocks", "pinned_states",
  "peak_blocks",
}

return Index
