-- Waiting requests that a queue keeps apart after a look at them, so that a step reaches those after
-- them. Each says what a look at it costs, and a step takes back as many as it can look at and still have
-- half of its looks for others: half of these by key, so that the first one is looked at in every step,
-- and half in turn, first in, first out. Links are the columns group_next and group_prev.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local NONE = require("gdnmeta.engine.requests").NONE

local BEST, TURN = 32, 32 -- looks of a step that go to those that come back
local out_t = ffi.typeof "gdn_heap *[1]"

local function heap_free(heap) lib.gdn_heap_free(heap) end

local Parked = {}
Parked.__index = Parked

--- The key of one that is kept apart.
function Parked:set(i)
  local r = self.requests
  lib.gdn_heap_set(self.heap, i, self.by_arrival and 0 or r.key[i], r.tie[i])
end

--- Room for requests of numbers below n, so that nothing finds no memory later on.
---@return integer status
function Parked:reserve(n) return lib.gdn_heap_reserve(self.heap, n) end

function Parked:push(i, cost)
  local r, tail = self.requests, self.tail
  r.parked[i], r.group_next[i], r.group_prev[i] = cost, NONE, tail
  if tail == NONE then self.head = i else r.group_next[tail] = i end
  self.tail = i
  local n = self.num_new + 1
  self.new[n], self.num_new = i, n -- it has no key here before the next step: none is looked at twice in one
end

function Parked:remove(i)
  local r = self.requests
  local next, prev = r.group_next[i], r.group_prev[i]
  if prev == NONE then self.head = next else r.group_next[prev] = next end
  if next == NONE then self.tail = prev else r.group_prev[next] = prev end
  r.parked[i] = 0
  lib.gdn_heap_remove(self.heap, i)
end

local function begin(self)
  self.best, self.left = BEST, TURN
  local parked = self.requests.parked
  for n = 1, self.num_new do
    local i = self.new[n]
    if parked[i] > 0 then self:set(i) end
  end
  self.num_new = 0
end

--- The first by key, or NONE.
---@return integer
function Parked:first()
  local i = lib.gdn_heap_first(self.heap)
  if i ~= NONE then self:remove(i) end
  return i
end

-- The next one that comes back in this step, or NONE.
local function pop(self)
  local r, i = self.requests, self.head
  if i == NONE then return NONE end
  if self.best > 0 then
    i = lib.gdn_heap_first(self.heap)
    self.best = self.best - r.parked[i]
  elseif self.left > 0 then
    self.left = self.left - r.parked[i]
  else
    return NONE
  end
  self:remove(i)
  return i
end

--- A step begins: put(queue, i) takes back each one whose turn it is.
---@param queue table
---@param put function
function Parked:give_back(queue, put)
  begin(self)
  local i = pop(self)
  while i ~= NONE do
    put(queue, i)
    i = pop(self)
  end
end

local M = {}

--- by_arrival: go by that, for keys are not those of single requests.
---@return table|nil parked nil: no memory
function M.new(requests, by_arrival)
  local out = out_t()
  if lib.gdn_heap_new(requests.capacity, out) ~= 0 then return nil end
  return setmetatable({ requests = requests, heap = ffi.gc(out[0], heap_free), head = NONE, tail = NONE,
                        new = {}, num_new = 0, by_arrival = by_arrival or false }, Parked)
end

return M
