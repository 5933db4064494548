-- Waiting requests by lane (all requests of a user, say): the lane with the least key goes first, and
-- within a lane they go by arrival. A lane's key is that of its first request, computed again in every
-- step for at most `rekey_limit` lanes in turn, and after every admission from the lane.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local NONE = require("gdnmeta.engine.requests").NONE
local heaps = require "gdnmeta.engine.queue.heap"
local parked = require "gdnmeta.engine.queue.parked"

local items_t = ffi.typeof "int32_t[?]"

local Lanes = {}
Lanes.__index = Lanes

local function set(self, lane)
  local r, i = self.requests, self.at[lane]
  lib.gdn_heap_set(self.heap, lane, r.key[i], r.tie[i])
end

local function open(self, lane)
  local n = self.count
  self.active[n], self.place[lane], self.count = lane, n, n + 1
end

local function close(self, lane)
  local n, place = self.count - 1, self.place[lane]
  local last = self.active[n]
  self.active[place], self.place[last] = last, place
  self.active[n], self.place[lane], self.count = nil, nil, n
  lib.gdn_heap_remove(self.heap, lane)
end

--- Room for every request that there can be, each in a lane of its own: nothing finds no memory later on.
---@return integer status
function Lanes:reserve()
  local n = self.requests.capacity
  local status = lib.gdn_heap_reserve(self.heap, n)
  return status ~= 0 and status or self.parked:reserve(n)
end

function Lanes:push(i, front)
  local r = self.requests
  local lane = r[self.column][i]
  local head, tail = self.head[lane], self.tail[lane]
  r.lane[i] = lane
  if not head then
    self.head[lane], self.tail[lane], r.lane_next[i], r.lane_prev[i] = i, i, NONE, NONE
    open(self, lane)
  elseif front then
    self.head[lane], r.lane_next[i], r.lane_prev[i], r.lane_prev[head] = i, head, NONE, i
  else
    self.tail[lane], r.lane_next[i], r.lane_prev[i], r.lane_next[tail] = i, NONE, tail, i
  end
  self.at[lane] = self.head[lane]
  self.hooks:key(self.at[lane])
  set(self, lane)
end

function Lanes:remove(i)
  local r = self.requests
  if r.parked[i] > 0 then
    self.parked:remove(i)
    return
  end
  local lane, next, prev = r.lane[i], r.lane_next[i], r.lane_prev[i]
  if lane == NONE then return end
  r.lane[i] = NONE
  if prev ~= NONE then r.lane_next[prev] = next else self.head[lane] = next ~= NONE and next or nil end
  if next ~= NONE then r.lane_prev[next] = prev else self.tail[lane] = prev ~= NONE and prev or nil end
  self.at[lane] = self.head[lane]
  if not self.head[lane] then close(self, lane) end
end

-- The keys of lanes, by the requests that they would send next: items[0 .. n-1].
local function rekey(self, n)
  if not self.hooks:keys(self.items, n, self.step) then return false end
  local r = self.requests
  for k = 0, n - 1 do set(self, r.lane[self.items[k]]) end
  return true
end

-- Back to its place in its lane: before those that were submitted later. The lane's key is computed when it
-- comes to the top.
local function unpark(self, i)
  local r = self.requests
  local lane = r[self.column][i]
  local at, before = self.head[lane] or -1, -1
  while at >= 0 and r.tie[at] < r.tie[i] do at, before = r.lane_next[at], at end
  r.lane[i], r.lane_next[i], r.lane_prev[i], r.keyed[i] = lane, at, before, -1
  if not self.head[lane] then open(self, lane) end
  if before < 0 then self.head[lane] = i else r.lane_next[before] = i end
  if at < 0 then self.tail[lane] = i else r.lane_prev[at] = i end
  self.at[lane] = self.head[lane]
  r.keyed[self.at[lane]] = -1
  lib.gdn_heap_set(self.heap, lane, -math.huge, 0)
end

function Lanes:begin(step)
  self.step, self.touched = step, 0
  self.parked:give_back(self, unpark)
  local n = math.min(self.count, self.limit)
  for k = 0, n - 1 do
    if self.turn >= self.count then self.turn = 0 end
    self.items[k] = self.head[self.active[self.turn]]
    self.turn = self.turn + 1
  end
  return rekey(self, n)
end

function Lanes:candidate()
  local lane = lib.gdn_heap_first(self.heap)
  if lane == NONE then return NONE end
  local i = self.at[lane]
  if self.requests.keyed[i] == self.step then return i end
  if not self.hooks:key_now(i, self.step) then return nil end
  set(self, self.requests.lane[i])
  return self:candidate()
end

--- The best lane's first request is dealt with: its next one stands for it. It goes to the top, where
--- candidate() gives it the key that it has by now.
function Lanes:advance()
  local lane = lib.gdn_heap_first(self.heap)
  local next = self.requests.lane_next[self.at[lane]]
  self.touched = self.touched + 1
  self.moved[self.touched] = lane
  self.at[lane] = next
  if next == NONE then
    lib.gdn_heap_remove(self.heap, lane)
  else
    lib.gdn_heap_set(self.heap, lane, -math.huge, 0)
  end
end

--- Those that want more tokens than are left keep their place: within a lane they go by arrival.
Lanes.pass = Lanes.advance

--- The best lane's first request stays out until it is its turn again.
function Lanes:hold(cost)
  local lane = lib.gdn_heap_first(self.heap)
  local i = self.at[lane]
  local next = self.requests.lane_next[i]
  self.touched = self.touched + 1
  self.moved[self.touched] = lane
  self:remove(i)
  self.parked:push(i, cost)
  self.at[lane] = next
  if next < 0 then
    lib.gdn_heap_remove(self.heap, lane)
  else
    lib.gdn_heap_set(self.heap, lane, -math.huge, 0)
  end
end

function Lanes:finish()
  for n = 1, self.touched do
    local lane = self.moved[n]
    self.at[lane] = self.head[lane]
    if self.head[lane] then set(self, lane) end
  end
  self.touched = 0
end

local M = {}

--- policy.group names the requests' column that separates the lanes: "user" or "class".
--- An empty queue with room for all; nil: no memory.
function M.new(requests, fifo, policy, limit)
  local back, heap = parked.new(requests, true), heaps(requests.capacity)
  if not back or not heap then return nil end
  return setmetatable({
    requests = requests, fifo = fifo, column = policy.group, hooks = false, limit = limit,
    heap = heap, items = items_t(limit),
    head = {}, tail = {}, at = {}, active = {}, place = {}, moved = {},
    count = 0, turn = 0, touched = 0, parked = back,
  }, Lanes)
end

--- Take in who waits.
function Lanes:fill(hooks)
  self.hooks = hooks
  local requests, i = self.requests, self.fifo.head
  while i ~= NONE do
    self:push(i, false)
    i = requests.next[i]
  end
end

return M
