-- What leaves where requests need slots or blocks: states and blocks that nobody reads, the least worth
-- first. Parts of the object of prefix_cache.lua.
local lib = require "gdnmeta.native"
local Index = require "gdnmeta.engine.prefix.index"
local piece = require("gdnmeta.native.trace_cuts").piece
local must = require "gdnmeta.engine.must" "evict"

local ceil, max, min = math.ceil, math.max, math.min
local NONE = require("gdnmeta.engine.requests").NONE

local PrefixCache = {}

--- May states and blocks leave in C alone? Not where a hook or a host tier is asked, or somebody wants to
--- hear of it.
---@return boolean
function PrefixCache:is_plain() return not (self.hooks or self.host or self.is_tracked) end

-- A node's state has gone, and somebody may want to hear of it.
local function tell(self, node)
  if self.user_at[node] or self.newest_at[node] then self:lost_state(node) end
end

-- The host tier may take the state in.
local function leave_for_host(self)
  local node = self.index:first(Index.STATES)
  local slots = node > 0 and self.host:take_in(node)
  if not slots then return false end
  must(lib.gdn_slots_drop_list(self.engine.states.pools, slots))
  return true
end

local leave_first_state = piece(function(self)
  if self.host and leave_for_host(self) then return true end
  local node = self.index:leave_first(Index.STATES, 0, nil, nil, self.engine.states.pools)
  if node == 0 then return self:drop_any_answer() end
  tell(self, node)
  return true
end)

---@return boolean a state has left, or one that a running request held for its end
function PrefixCache:evict_state()
  if self.hooks then self.hooks:rate(self.index, Index.STATES) end
  local has_left = leave_first_state(self)
  return has_left
end

-- The state of a leaf is on the host: its place there is free then.
local function leave_with_host_state(self, node)
  local gone, slots = self.index:evict(node, self.at_once, self.gone)
  if gone > 0 and self.per_block > 0 then
    must(lib.gdn_kv_drop(self.engine.states.kv.kv, self.gone, gone * self.per_block))
  end
  self.host:give_back(slots[0])
  return gone
end

local leave_first_leaf = piece(function(self)
  local states, kv = self.engine.states, self.engine.states.kv
  local node, gone = self.host and self.index:first(Index.LEAVES) or 0, 0
  if node > 0 and self.index:is_on_host(node) then gone = leave_with_host_state(self, node) end
  if gone == 0 then
    node, gone = self.index:leave_first(Index.LEAVES, self.at_once, kv and kv.kv or nil, self.gone,
                                        states.pools)
  end
  if kv then states.free_kv = kv:free() end
  tell(self, node)
  return gone > 0
end)

---@return boolean blocks have left
function PrefixCache:evict_leaf()
  if self.hooks then self.hooks:rate(self.index, Index.LEAVES) end
  local has_left = leave_first_leaf(self)
  return has_left
end

-- A state on the host holds no slots. What the plan admits keeps its own.
local function may_lose(r, i, but, of_slots)
  return r.holds[i] == 1 and i ~= but and r.mark[i] == 0 and not (of_slots and r.on_host[i] == 1)
end

--- The last request of the queue that may lose what it would begin with; NONE: there is none. Looked for from
--- both ends, until all that hold something were seen: most of a long queue hold nothing.
---@param but integer|nil which may not
---@param of_slots boolean|nil it is to hold slots
---@return integer
function PrefixCache:last_holding(but, of_slots)
  local r, fifo = self.engine.requests, self.engine.fifo
  local front, back, unseen, found = fifo.head, fifo.tail, self.num_holding, NONE
  while unseen > 0 and back ~= NONE do
    if may_lose(r, back, but, of_slots) then return back end
    if may_lose(r, front, but, of_slots) then found = front end
    unseen = unseen - r.holds[front] - r.holds[back]
    front, back = r.next[front], r.prev[back]
  end
  return found
end

local function release_one(self, but, of_slots)
  local i = self:last_holding(but, of_slots)
  if i == NONE then return false end
  self:let_go(i)
  self.engine.requests.matched[i] = -1
  return true
end

local function free_state(self, but) return self:evict_state() or release_one(self, but, true) end
local function free_leaf(self, but) return self:evict_leaf() or release_one(self, but) end

-- More than one: seldom, see join_at_last() of publish.lua.
local function free_more_slots(self, wanted, but)
  local states = self.engine.states
  while states:free_slots() < wanted and free_state(self, but) do end
end

local function free_more_blocks(self, wanted, but)
  local states = self.engine.states
  while states.free_kv < wanted and free_leaf(self, but) do end
end

-- States leave until so many slots are free in each group.
local function free_slots(self, wanted, but)
  local states = self.engine.states
  if states:free_slots() >= wanted then return end
  if self:is_plain() then
    self.index:free_up(Index.STATES, wanted, 0, nil, nil, states.pools)
  elseif not free_state(self, but) then
    return
  end
  if states:free_slots() < wanted then free_more_slots(self, wanted, but) end
end

local function free_blocks(self, wanted, but)
  local states = self.engine.states
  if states.free_kv >= wanted then return end
  if self:is_plain() then
    self.index:free_up(Index.LEAVES, wanted, self.at_once, states.kv.kv, self.gone, states.pools)
    states.free_kv = states.kv:free()
  elseif not free_leaf(self, but) then
    return
  end
  if states.free_kv < wanted then free_more_blocks(self, wanted, but) end
end

--- States and blocks leave that running requests may need in this step, where their windows move and they
--- grow.
function PrefixCache:evict_for_running()
  local e = self.engine
  local n, drafts = e.num_running, e.num_spec
  if e.align then free_slots(self, n * max(1, drafts)) end
  if self.per_block == 0 then return end
  local growth = e.plan.outlook:promised_to_all() + n * (1 + ceil(drafts / e.states.kv_block))
  free_blocks(self, min(growth + e.plan.watermark, e.states.total_kv))
end

--- A waiting request does not fit the plan with its first n tokens: states and blocks that nobody reads make
--- room.
---@return boolean is there more room?
PrefixCache.make_way = piece(function(self, i, n)
  local e, r = self.engine, self.engine.requests
  local states, plan = e.states, e.plan
  local slots, blocks = states:free_slots(), states.free_kv
  local lacking = states:needs(i, r.computed[i] + n, 0) - (plan.slots_left - plan.slots_aside)
  if not plan.outlook:is_alone(plan) then
    lacking = max(lacking, plan.upkeep:lacks(i, n, plan.slots_free))
  end
  if lacking > 0 then
    free_slots(self, slots + lacking, i)
    if states:free_slots() < slots + lacking and plan.outlook:is_alone(plan) then
      self:let_go(i) -- what is kept leaves no room for the state that it reads
      free_slots(self, slots + lacking, i)
    end
  end
  if self.per_block > 0 then
    local lack = max(states:missing_kv(i, r.known[i]) - (plan.kv_left - plan.kv_aside),
                     plan.outlook:lack(i) - plan:kv_spare()) + plan.watermark
    if lack > 0 then free_blocks(self, min(blocks + lack, states.total_kv), i) end
  end
  return plan:has_more(states:free_slots() - slots, states.free_kv - blocks)
end)

return PrefixCache
