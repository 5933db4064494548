-- What leaves where requests need slots or blocks: states and blocks that nobody reads, the least worth
-- first. Parts of the object of prefix_cache.lua.
local lib = require "gdnmeta.native"
local Index = require "gdnmeta.engine.prefix.index"
local must = require "gdnmeta.engine.must" "evict"

local ceil, max, min = math.ceil, math.max, math.min

local PrefixCache = {}

local function drop_slots(self, slots)
  for group = 0, self.groups - 1 do
    if slots[group] > 0 then must(lib.gdn_slots_drop(self.engine.states.pools, group, slots[group])) end
  end
end

---@return boolean a state has left, or one that a running request held for its end
function PrefixCache:evict_state()
  if self.hooks then self.hooks:rate(self.index, Index.STATES) end
  local node = self.index:first(Index.STATES)
  if node == 0 then return self:drop_any_answer() end
  drop_slots(self, self.index:drop_state(node))
  self:lost_state(node)
  self.version = self.version + 1
  return true
end

---@return boolean blocks have left
function PrefixCache:evict_leaf()
  if self.hooks then self.hooks:rate(self.index, Index.LEAVES) end
  local node = self.index:first(Index.LEAVES)
  if node == 0 then return false end
  local gone, slots = self.index:evict(node, self.at_once, self.gone)
  if gone > 0 and self.per_block > 0 then
    must(lib.gdn_kv_drop(self.engine.states.kv.kv, self.gone, gone * self.per_block))
    self.engine.states.free_kv = self.engine.states.kv:free()
  end
  drop_slots(self, slots)
  self:lost_state(node)
  self.version = self.version + 1
  return gone > 0
end

-- Slots that the step may take: of those that may come in, and of those that run where their windows move.
local function slots_wanted(e)
  local comers = min(e.fifo.size, e.max_num_seqs - e.num_running)
  if not e.align then return comers * e.states.per_request end
  return comers * (2 + e.num_spec) + e.num_running * max(1, e.num_spec)
end

local function blocks_wanted(e)
  local i, comers, sum = e.fifo.head, e.max_num_seqs - e.num_running, e.plan.outlook:promised()
  while i >= 0 and comers > 0 do
    sum, comers, i = sum + e.plan.outlook:blocks(i), comers - 1, e.requests.next[i]
  end
  return sum + e.plan.watermark + e.num_running * (1 + ceil(e.num_spec / e.states.kv_block))
end

--- States and blocks leave that the step may need.
function PrefixCache:evict_for_requests()
  local e = self.engine
  local slots = slots_wanted(e)
  while e.states:free_slots() < slots and self:evict_state() do end
  if self.per_block == 0 then return end
  local blocks = blocks_wanted(e)
  while e.states.free_kv < blocks and self:evict_leaf() do end
end

return PrefixCache
