-- The states of the lab, in an index as engines have it: found, published, valued and evicted by the same
-- calls in the same order, so that a cache does here what it does there.
local Index = require "gdnmeta.engine.prefix.index"
local array_of = require "gdnmeta.array_of"
local hook_tables = require "gdnmeta.engine.prefix.hook_tables"
local lib = require "gdnmeta.native"
local priorities = require "gdnmeta.engine.prefix.priorities"
local sessions = require "gdnmeta.sim.lab.sessions"

local min = math.min
local ECAP = tonumber(lib.GDN_ECAP)
local AT_ONCE = 64 -- blocks that leave together
local SLOT = array_of "int32_t"(1, 1) -- no one reads it

local States = {}
States.__index = States

local M = {}

---@param hooks table of lab.contained
---@param ctx table what hooks are told
---@param o table slots, batch, nodes, kv_bytes, state_bytes
---@param blocks integer that may be there at once
---@return table
function M.new(hooks, ctx, o, blocks)
  local index = assert(Index.new {
    num_groups = 1, block_size = ctx.block_size, kv_per_block = 0, max_blocks = math.max(blocks, 1),
    max_nodes = min(o.nodes or math.max(blocks, 1), 2^26), kv_bytes = o.kv_bytes * ctx.block_size,
    state_bytes = o.state_bytes,
  })
  return setmetatable({ index = index, hooks = hooks, ctx = ctx, slots = o.slots, batch = o.batch,
    sessions = sessions.new(), priorities = priorities.new(), shown = index:describe(0), n = 0, made = 0,
    used = 0, evictions = 0, peak = 0 }, States)
end

function States:close() self.index:close() end

--- A request comes: it reads the last state on its path.
---@param r table
---@param ids ffi.cdata* int64 [n]
---@param n integer
---@param now number
---@return integer hit, integer junction tokens
function States:begin(r, ids, n, now)
  local index = self.index
  self.sessions:enter(r, now)
  index:advance(now)
  local hit = index:match(ids, n, r.prompt - 1)
  local cached, junction, node = hit.state_tokens, hit.junction, hit.state_node
  self.ids, self.num_ids, self.now, self.node = ids, n, now, node
  if node > 0 then
    hit.node, hit.kv_hit, hit.kv_tokens = node, hit.state_hit, cached
    if index:describe(node, self.shown).state_hits == 0 then self.used = self.used + 1 end
    index:lock()
    index:unlock_state(node)
  end
  return cached, junction
end

--- It is served. Its blocks are known from now on, whether it left a state or not.
function States:finish()
  if self.num_ids > 0 then
    self.index:advance(self.now)
    self:extend(self.num_ids, nil)
  end
  if self.node > 0 then self.index:unlock(self.node) end
  self.sessions:leave()
end

-- Some nodes of a kind are valued.
local function rate(self, kind)
  local hooks, index = self.hooks, self.index
  if not hooks.worth then return self.priorities:rate(index, kind, self.batch) end
  local nodes, n, values = index:candidates(kind, self.batch)
  for k = 1, n do
    self.priorities:show(nodes[k])
    self.sessions:show(nodes[k], self.now)
  end
  if n == 0 then return end
  hooks.worth(nodes, n, values, self.ctx)
  index:rate(kind, n, values)
end

local function lost(self, node)
  self.n, self.evictions = self.n - 1, self.evictions + 1
  self.sessions:lost(node)
end

local function evict_state(self)
  rate(self, Index.STATES)
  local node = self.index:first(Index.STATES)
  if node == 0 then return false end
  self.index:drop_state(node)
  lost(self, node)
  return true
end

-- Blocks leave where the index knows no more prompts.
local function evict_leaf(self)
  rate(self, Index.LEAVES)
  local node = self.index:first(Index.LEAVES)
  if node == 0 then return false end
  local gone, slots = self.index:evict(node, AT_ONCE)
  if slots[0] > 0 then lost(self, node) end
  return gone > 0
end

--- The request's first n blocks join, with a state at their end if there is a slot of one.
---@return boolean has the state joined?
function States:extend(n, slots)
  local published, _, code
  repeat
    published, _, code = self.index:publish(self.ids, n, nil, slots, self.node, true)
  until code ~= ECAP or not evict_leaf(self)
  if not published then return false end
  self.node = published.node
  return published.state_taken == 1
end

-- Is the state at so many tokens kept? A number says how dearly.
local function keeps(self, tokens)
  local gap = tokens - self.index:state_before(self.node)
  local node = hook_tables.coming(tokens, gap, self.now, false)
  self.sessions:show_own(node, self.now)
  return self.hooks.keep(node, self.ctx)
end

--- The request's first n blocks are computed: their state is kept where the cache wants it, and others make
--- room.
function States:publish(n)
  self.index:advance(self.now)
  local verdict = not self.hooks.keep or keeps(self, n * self.ctx.block_size)
  if not verdict then return end
  if self.n >= self.slots and not evict_state(self) then return end
  if not self:extend(n, SLOT) then return end
  self.priorities:set(self.node, verdict)
  self.sessions:left(self.node)
  self.n, self.made = self.n + 1, self.made + 1
  self.peak = math.max(self.peak, self.n)
end

return M
