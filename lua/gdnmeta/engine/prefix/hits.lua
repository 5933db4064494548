-- What requests begin with: the longest prefix that has a state, looked for while they wait. They hold it
-- until their first step is complete, or until others need its memory. Nothing here makes a table or an array
-- a request. Parts of the object of prefix_cache.lua.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local args = require "gdnmeta.native.args"
local array_of = require "gdnmeta.array_of"
local piece = require("gdnmeta.native.trace_cuts").piece
local must = require "gdnmeta.engine.must" "hits"

local watches = array_of "gdn_index_watch"

local WATCH_BYTES = ffi.sizeof "gdn_index_watch"
-- Waiting requests that each step looks for in the index, from the head of the queue on. Others are looked
-- for when they are to come in.
local LOOKS = 8

local PrefixCache = { LOOKS = LOOKS }

-- One request alone must find slots of its own beside the state that it reads. Those of a pinned state are
-- not there for requests anyway.
local function may_hold(self, node)
  local e = self.engine
  for group = 1, self.groups do
    if e.config.num_slots[group - 1] - 2 - e.states.pins[group].n < e.states.least_slots then
      return self:is_pinned(node)
    end
  end
  return true
end

-- A place for what each request waits for: their numbers grow.
local function watch_of(self, i)
  local capacity = self.engine.requests.capacity
  if self.num_watches < capacity then
    local new = watches(capacity)
    if self.num_watches > 0 then ffi.copy(new, self.watches, self.num_watches * WATCH_BYTES) end
    self.watches, self.num_watches = new, capacity
  end
  return self.watches[i]
end

--- Request i, which waits, begins with the state of a node so many blocks long. on_host: 1: it is copied from
--- the host, into slots of the request's own, and holds no other.
function PrefixCache:begin_with(i, node, blocks, on_host)
  local r, hit = self.engine.requests, self.index.hit
  local tokens = blocks * self.size
  if node == r.hit_node[i] and tokens == r.cached[i] then return end
  self:let_go(i)
  if node == 0 or on_host == 0 and not may_hold(self, node) then return end
  hit.node, hit.kv_hit, hit.kv_tokens, hit.state_node = node, blocks, tokens, on_host == 0 and node or 0
  if not self.index:lock() then return end
  r.hit_node[i], r.cached[i], r.computed[i], r.on_host[i] = node, tokens, tokens, on_host
  r.holds[i], self.num_holding = 1, self.num_holding + 1
  r.kv_shared[i] = blocks * self.per_block
end

--- What request i, which waits, begins with: the longest prefix with a state.
PrefixCache.match = piece(function(self, i)
  local r, index = self.engine.requests, self.index
  local ids, n, limit = r.ids[i], r.num_ids[i], r.known[i] - 1
  local hit = index:match(ids, n, limit)
  index:watch(ids, n, limit, watch_of(self, i))
  r.matched[i], r.junction[i], r.asked_to[i] = n, hit.junction < r.prompt[i] and hit.junction or 0, -1
  if hit.host_node ~= 0 then
    self:begin_with(i, hit.host_node, hit.host_hit, 1)
  else
    self:begin_with(i, hit.state_node, hit.state_hit, 0)
  end
end)

--- A waiting request looks for what has come or gone since it did last.
function PrefixCache:look(i)
  local r = self.engine.requests
  if not r.ids[i] or r.flight[i] > 0 or r.checkpoint[i] then return end
  if r.matched[i] ~= r.num_ids[i] or self.index:has_changed(self.watches[i]) then self:match(i) end
end

--- Those at the head of the queue do.
function PrefixCache:match_waiting()
  local e, r, changed = self.engine, self.engine.requests, self.changed
  local n = self.index:list_changed(self.watches or nil, r.matched, r.num_ids, r.next, e.fifo.head, LOOKS,
                                    changed)
  for k = 0, n - 1 do self:look(changed[k]) end
end

-- It waits no longer with what it holds.
local function end_holding(self, i)
  local holds = self.engine.requests.holds
  self.num_holding, holds[i] = self.num_holding - holds[i], 0
end

--- Request i is admitted, and has a table row: it reads the state, and shares the blocks before it.
function PrefixCache:begin_at(i)
  local e, r = self.engine, self.engine.requests
  local node, n = r.hit_node[i], r.kv_shared[i]
  end_holding(self, i)
  if r.on_host[i] == 1 then
    e.states:await_copy(i, r.cached[i], self.accepted[node])
  else
    must(lib.gdn_index_slots(self.index.handle, node, self.index.slots))
    e.states:read_slots(i, r.cached[i], self.accepted[node], self.index.slots)
  end
  if self.per_block > 0 then
    must(lib.gdn_index_read(self.index.handle, node, 0, n / self.per_block, nil, self.shared))
    must(lib.gdn_kv_share(e.states.kv.kv, r.table_row[i], self.shared, n))
    r.kv_blocks[i], r.kv_reserved_to[i] = n, n * e.states.kv_block
  end
  e.stats.hits, e.stats.cached_tokens = e.stats.hits + 1, e.stats.cached_tokens + r.cached[i]
end

--- Request i has read the state, and keeps the path to it as its own.
function PrefixCache:has_begun(i)
  local r = self.engine.requests
  self.index:unlock_state(r.hit_node[i])
  if r.node[i] == 0 then r.node[i] = r.hit_node[i] else self.index:unlock(r.hit_node[i]) end
  r.hit_node[i], r.on_host[i] = 0, 0
end

--- Is the state that request i begins with yet to be copied from the host, before a step that is not built?
---@return boolean
function PrefixCache:awaits_copy(i)
  local r = self.engine.requests
  return r.on_host[i] == 1 and r.flight[i] == 0
end

--- Does a session keep the node?
---@return boolean
function PrefixCache:is_pinned(node) return self.index:describe(node, self.shown).pinned end

--- Request i begins with nothing again.
function PrefixCache:let_go(i)
  local r = self.engine.requests
  local node = r.hit_node[i]
  if node > 0 then
    self.index:unlock_state(node)
    self.index:unlock(node)
    r.hit_node[i], r.on_host[i] = 0, 0
    end_holding(self, i)
  end
  if not r.checkpoint[i] then r.cached[i], r.computed[i], r.kv_shared[i] = 0, 0, 0 end
end

--- Is the count of requests that wait with something right?
---@return string|nil problem
function PrefixCache:holding_problem()
  local r, n, i = self.engine.requests, 0, self.engine.fifo.head
  while i >= 0 do
    if r.holds[i] ~= (r.hit_node[i] > 0 and 1 or 0) then
      return ("request %s waits with node %d, holds = %d"):format(args.word(r.id[i]), r.hit_node[i],
                                                                  r.holds[i])
    end
    n, i = n + r.holds[i], r.next[i]
  end
  if n ~= self.num_holding then
    return ("%d requests wait with a node, want %d"):format(self.num_holding, n)
  end
end

return PrefixCache
