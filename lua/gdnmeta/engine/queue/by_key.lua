-- Waiting requests by the policy's key. It is computed when the request joins the queue; one that is not
-- static also again in every step that has a choice, for at most `rekey_limit` requests in turn and for the
-- first one.
-- (Same face as fifo.lua and by_group.lua: begin, candidate, advance or hold ..., finish; finish puts back
-- what was passed, and what was held comes back at its turn. Those of the best keys come back in every step,
-- so that a look without effect costs no request its place.)
local lib = require "gdnmeta.native"
local NONE = require("gdnmeta.engine.requests").NONE
local heaps = require "gdnmeta.engine.queue.heap"
local ordered = require "gdnmeta.engine.queue.ordered"
local parked = require "gdnmeta.engine.queue.parked"
local array_of = require "gdnmeta.array_of"

local items_t = array_of "int32_t"

local ByKey = {}
ByKey.__index = ByKey
ByKey.reserve, ByKey.fill = ordered.reserve, ordered.fill

local function set(self, i)
  local r = self.requests
  lib.gdn_heap_set(self.heap, i, r.key[i], r.tie[i])
end

function ByKey:push(i)
  self.hooks:key(i)
  set(self, i)
end

function ByKey:remove(i)
  if self.requests.parked[i] > 0 then self.parked:remove(i) else lib.gdn_heap_remove(self.heap, i) end
end

local function rekey(self)
  local fifo, items, n = self.fifo, self.items, math.min(self.fifo.size, self.limit)
  for k = 0, n - 1 do items[k] = fifo:rotate() end
  if not self.hooks:keys(items, n, self.step) then return false end
  local is_parked = self.requests.parked
  for k = 0, n - 1 do
    if is_parked[items[k]] == 0 then set(self, items[k]) else self.parked:set(items[k]) end
  end
  return true
end

--- Candidates of a step from here on, in order.
function ByKey:begin(step)
  self.popped, self.step, self.fresh, self.is_keyed = 0, step, 0, self.static
  self.parked:give_back(self, set)
end

-- The first one whose key is of this step.
local function first_of_now(self)
  local r = self.requests
  while true do
    local i = lib.gdn_heap_first(self.heap)
    if i < 0 or r.keyed[i] == self.step or self.fresh >= self.limit then return i end
    self.fresh = self.fresh + 1
    if not self.hooks:key_now(i, self.step) then return nil end
    set(self, i)
  end
end

--- The best one, or NONE; nil: the policy failed.
---@param compares boolean its key is compared with that of a running request
---@return integer|nil i
function ByKey:candidate(compares)
  local r = self.requests
  if not self.is_keyed then
    if not compares and self.fifo.size == 1 then
      local only = lib.gdn_heap_first(self.heap)
      return only -- not `return` of the call itself: that would not be compiled
    end
    if not rekey(self) then return nil end
    self.is_keyed = true
  end
  local i = lib.gdn_heap_first(self.heap)
  if i < 0 or self.static or r.keyed[i] == self.step or self.fresh >= self.limit then return i end
  return first_of_now(self)
end

function ByKey:advance()
  local i = lib.gdn_heap_first(self.heap)
  lib.gdn_heap_remove(self.heap, i)
  self.popped = self.popped + 1
  self.held[self.popped] = i
  local back = self.parked:first() -- its turn, if its key is the best now
  if back ~= NONE then set(self, back) end
end

--- The best one stays out until it is its turn again.
function ByKey:hold(cost)
  local i = lib.gdn_heap_first(self.heap)
  lib.gdn_heap_remove(self.heap, i)
  self.parked:push(i, cost)
end

ByKey.pass = ByKey.hold -- more than a step looks at may want more tokens than are left

function ByKey:finish()
  for n = 1, self.popped do set(self, self.held[n]) end
end

local M = {}

--- An empty queue with room for all; nil: no memory.
function M.new(requests, fifo, policy, limit)
  local back, heap = parked.new(requests), heaps(requests.capacity)
  if not back or not heap then return nil end
  return setmetatable({ requests = requests, fifo = fifo, static = policy.static,
                        limit = limit, parked = back, heap = heap, items = items_t(limit), held = {} },
                      ByKey)
end

return M
