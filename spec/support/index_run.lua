-- A run of random calls of a prefix cache's index beside prefix_model.lua, and what of the two is compared.
local ffi = require "ffi"
local Index = require "gdnmeta.engine.prefix.index"
local lib = require "gdnmeta.native"
local Model = require "spec.support.prefix_model"

local M = { GROUPS = 2, SIZE = 4, LONGEST = 64 } -- tokens of a block, blocks of a path
local PER = 2 -- attention blocks of a block
local ids_t, ints_t = ffi.typeof "int64_t[64]", ffi.typeof "int32_t[256]"

local Run = {}
Run.__index = Run

function M.to_ids(list)
  local out = ids_t()
  for k, id in ipairs(list) do out[k - 1] = id end
  return out
end

-- Ids of the path to a node, and kv of its blocks as one text each.
function M.path_of(index, node, depth)
  local ids, kv, list, texts = ids_t(), ints_t(), {}, {}
  assert(lib.gdn_index_read(index.handle, node, 0, depth, ids, kv) == 0)
  for k = 1, depth do
    list[k], texts[k] = tonumber(ids[k - 1]), kv[PER * k - 2] .. "/" .. kv[PER * k - 1]
  end
  return list, texts
end

-- Any part of a path is what it is of the whole.
local function read_part(index, node, list, texts)
  local first = math.random(0, #list)
  local n = math.random(0, #list - first)
  local ids, kv = ids_t(), ints_t()
  assert(lib.gdn_index_read(index.handle, node, first, n, ids, kv) == 0)
  for k = 1, n do
    if list[first + k] ~= tonumber(ids[k - 1]) then return false end
    if texts[first + k] ~= kv[PER * k - 2] .. "/" .. kv[PER * k - 1] then return false end
  end
  return n == M.LONGEST or ids[n] == 0 -- and no more of it
end


function M.start(seed, options)
  math.randomseed(seed)
  local index = assert(Index.new {
    num_groups = M.GROUPS, block_size = M.SIZE, kv_per_block = PER, max_nodes = options.nodes,
    max_blocks = options.blocks, kv_bytes = 3, state_bytes = 100,
  })
  return setmetatable({ index = index, model = Model.new(), seed = seed, move = 0, locks = {}, pins = {},
                        next_slot = 1, next_kv = 1, paths = { {} }, watches = {},
                        changed = 0, unchanged = 0, tight = options.tight }, Run)
end

function Run:where(what) return ("seed %d, move %d: %s"):format(self.seed, self.move, what) end

function Run:same(want, got, what)
  if want == got then return end
  error(self:where(("%s: want %s, got %s"):format(what, tostring(want), tostring(got))), 2)
end

-- A path that goes along with an older one for a while.
function Run:path()
  local old, list = self.paths[math.random(#self.paths)], {}
  for k = 1, math.random(0, #old) do list[k] = old[k] end
  for _ = 1, math.random(0, math.min(24, M.LONGEST - #list)) do list[#list + 1] = math.random(2) end
  if #list == 0 then list[1] = math.random(2) end
  self.paths[#self.paths % 12 + 1] = list
  return list
end

function Run:compare_hit(hit, want, what)
  self:same(want.kv, hit.kv_hit, what .. " kv_hit")
  self:same(want.state, hit.state_hit, what .. " state_hit")
  self:same(want.host, hit.host_hit, what .. " host_hit")
  self:same(want.kv * M.SIZE, hit.kv_tokens, what .. " kv_tokens")
  local helps = want.kv > want.state and want.kv > want.host
  self:same(helps and want.kv * M.SIZE or 0, hit.junction, what .. " junction")
end

-- A node drawn from those that can be reached, 0: there is none.
function Run:node()
  local node = self.index:describe(0)
  local at, c = 0, ffi.new "gdn_index_node"
  for _ = 1, math.random(0, 6) do
    lib.gdn_index_describe(self.index.handle, at, c)
    local child = c.first_child
    for _ = 1, math.random(0, 2) do
      if child == 0 then break end
      lib.gdn_index_describe(self.index.handle, child, c)
      if c.next ~= 0 then child = c.next end
    end
    if child == 0 then break end
    at = child
  end
  return at, at > 0 and node
end

-- Values are those of the node's last kv number: any function of a path would do.
function Run:rate(kind)
  local batch, n, values = self.index:candidates(kind, math.random(64))
  for k = 1, n do values[k] = (batch[k].id * 37) % 11 end
  self.index:rate(kind, n, values)
  return n
end

-- The first is the least of those that are rated.
function Run:first(kind)
  local n, node = self:rate(kind), self.index:first(kind)
  self:same(n > 0, node > 0, "first of kind " .. kind)
  if node == 0 then return 0 end
  local batch, count, values = self.index:candidates(kind, Index.MAX_BATCH)
  local c = ffi.new "gdn_index_node"
  for k = 1, count do
    lib.gdn_index_describe(self.index.handle, batch[k].id, c)
    if (kind == 0 and c.leaf_is_new or c.state_is_new) == 0 and values[k] < (node * 37) % 11 then
      error(self:where "one of less value waits")
    end
  end
  return node
end

-- Everything that the index has is in the model, and the other way round.
function Run:compare_all()
  local index, model = self.index, self.model
  local c, slots, blocks, states, pending = ffi.new "gdn_index_node", ffi.new "int32_t[2]", 0, 0, { 0 }
  while #pending > 0 do
    local node = table.remove(pending)
    lib.gdn_index_describe(index.handle, node, c)
    local child = c.first_child
    if node > 0 then
      local depth, length, gap, refs = c.depth, c.length, c.parent_gap, c.refs
      local num_states, on_host = c.num_states, c.place
      local list, kv = M.path_of(index, node, depth)
      local keys = Model.keys(list)
      self:same(true, read_part(index, node, list, kv), "a part of the path to node " .. node)
      for k = depth - length + 1, depth do
        self:same(model.blocks[keys[k]] and model.blocks[keys[k]].kv, kv[k], "kv of " .. keys[k])
        if k < depth then self:same(nil, model.states[keys[k]], "a state within node " .. node) end
      end
      blocks = blocks + length
      self:same((depth - model:state_above(keys[depth])) * M.SIZE, tonumber(gap), "parent_gap")
      self:same(model:refs(keys[depth]), refs, "refs")
      local state = model.states[keys[depth]]
      self:same(state ~= nil, num_states > 0, "a state at node " .. node)
      if state then
        states = states + 1
        lib.gdn_index_slots(index.handle, node, slots)
        for g = 1, M.GROUPS do self:same(state.slots[g], slots[g - 1], "slot") end
        self:same(state.host and 1 or 0, on_host, "place")
      end
    end
    while child ~= 0 do
      pending[#pending + 1] = child
      lib.gdn_index_describe(index.handle, child, c)
      child = c.next
    end
  end
  self:same(model.count, blocks, "blocks")
  local count = 0
  for _ in pairs(model.states) do count = count + 1 end
  self:same(count, states, "states")
  local stats = index:stats()
  self:same(model:pinned_blocks(), stats.pinned_blocks, "pinned blocks")
  self:same(stats.states_published - stats.states_used - stats.states_unused, states, "states that stayed")
  self:same(model.unused, stats.states_unused, "states that were never read")
end

function Run:compare_counts()
  if lib.gdn_index_verify(self.index.handle) ~= 0 then error(self:where(self.index:message())) end
  local _, leaves = self.index:candidates(Index.LEAVES, Index.MAX_BATCH)
  self:same(self.model:leaves(), leaves, "leaves that wait")
  for kind, host in pairs { [Index.STATES] = false, [Index.HOST] = true } do
    local _, states = self.index:candidates(kind, Index.MAX_BATCH)
    self:same(self.model:waiting(host), states, "states that wait, kind " .. kind)
  end
end

return M
