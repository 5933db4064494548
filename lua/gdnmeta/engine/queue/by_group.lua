-- Waiting requests by group (all requests of a user, say): the group with the least key goes first, and
-- within a group they go by arrival. A group's key is that of its first request, computed again in every
-- step that has a choice for at most `rekey_limit` groups in turn, and after every admission from the group.
local lib = require "gdnmeta.native"
local NONE = require("gdnmeta.engine.requests").NONE
local heaps = require "gdnmeta.engine.queue.heap"
local ordered = require "gdnmeta.engine.queue.ordered"
local parked = require "gdnmeta.engine.queue.parked"
local array_of = require "gdnmeta.array_of"

local items_t = array_of "int32_t"

local ByGroup = {}
ByGroup.__index = ByGroup
ByGroup.reserve, ByGroup.fill = ordered.reserve, ordered.fill

local function set(self, group)
  local r, i = self.requests, self.at[group]
  lib.gdn_heap_set(self.heap, group, r.key[i], r.tie[i])
end

local function open(self, group)
  local n = self.count
  self.active[n], self.place[group], self.count = group, n, n + 1
end

local function close(self, group)
  local n, place = self.count - 1, self.place[group]
  local last = self.active[n]
  self.active[place], self.place[last] = last, place
  self.active[n], self.place[group], self.count = nil, nil, n
  lib.gdn_heap_remove(self.heap, group)
end

function ByGroup:push(i, front)
  local r = self.requests
  local group = r[self.column][i]
  local head, tail = self.head[group], self.tail[group]
  r.group[i] = group
  if not head then
    self.head[group], self.tail[group], r.group_next[i], r.group_prev[i] = i, i, NONE, NONE
    open(self, group)
  elseif front then
    self.head[group], r.group_next[i], r.group_prev[i], r.group_prev[head] = i, head, NONE, i
  else
    self.tail[group], r.group_next[i], r.group_prev[i], r.group_next[tail] = i, NONE, tail, i
  end
  self.at[group] = self.head[group]
  self.hooks:key(self.at[group])
  set(self, group)
end

function ByGroup:remove(i)
  local r = self.requests
  if r.parked[i] > 0 then
    self.parked:remove(i)
    return
  end
  local group, next, prev = r.group[i], r.group_next[i], r.group_prev[i]
  if prev ~= NONE then r.group_next[prev] = next else self.head[group] = next ~= NONE and next or nil end
  if next ~= NONE then r.group_prev[next] = prev else self.tail[group] = prev ~= NONE and prev or nil end
  self.at[group] = self.head[group]
  if not self.head[group] then close(self, group) end
end

-- The keys of groups, by the requests that they would send next.
local function rekey(self)
  local n = math.min(self.count, self.limit)
  for k = 0, n - 1 do
    if self.turn >= self.count then self.turn = 0 end
    self.items[k] = self.head[self.active[self.turn]]
    self.turn = self.turn + 1
  end
  if not self.hooks:keys(self.items, n, self.step) then return false end
  local r = self.requests
  for k = 0, n - 1 do set(self, r.group[self.items[k]]) end
  return true
end

-- Back to its place in its group: before those that were submitted later. The group's key is computed when it
-- comes to the top.
local function unpark(self, i)
  local r = self.requests
  local group = r[self.column][i]
  local at, before = self.head[group] or NONE, NONE
  while at ~= NONE and r.tie[at] < r.tie[i] do at, before = r.group_next[at], at end
  r.group[i], r.group_next[i], r.group_prev[i], r.keyed[i] = group, at, before, NONE
  if not self.head[group] then open(self, group) end
  if before == NONE then self.head[group] = i else r.group_next[before] = i end
  if at == NONE then self.tail[group] = i else r.group_prev[at] = i end
  self.at[group] = self.head[group]
  r.keyed[self.at[group]] = NONE
  lib.gdn_heap_set(self.heap, group, -math.huge, 0)
end

function ByGroup:begin(step)
  self.step, self.touched, self.is_keyed = step, 0, false
  self.parked:give_back(self, unpark)
end

-- The best group's, when its key is that of this step.
local function freshest(self)
  while true do
    local group = lib.gdn_heap_first(self.heap)
    if group == NONE then return NONE end
    local i = self.at[group]
    if self.requests.keyed[i] == self.step then return i end
    if not self.hooks:key_now(i, self.step) then return nil end
    set(self, self.requests.group[i])
  end
end

--- As in by_key.lua.
function ByGroup:candidate(compares)
  if not self.is_keyed then
    if not compares and self.count == 1 then return self.at[lib.gdn_heap_first(self.heap)] or NONE end
    if not rekey(self) then return nil end
    self.is_keyed = true
  end
  return freshest(self)
end

--- The best group's first request is planned or passed: its next one stands for it, and candidate() gives the
--- group, which is at the top still, the key that this one has by now.
function ByGroup:advance()
  local group = lib.gdn_heap_first(self.heap)
  local next = self.requests.group_next[self.at[group]]
  self.touched = self.touched + 1
  self.moved[self.touched] = group
  self.at[group] = next
  if next == NONE then lib.gdn_heap_remove(self.heap, group) end
end

--- Those that want more tokens than are left keep their place: within a group they go by arrival.
ByGroup.pass = ByGroup.advance

--- The best group's first request stays out until it is its turn again.
function ByGroup:hold(cost)
  local group = lib.gdn_heap_first(self.heap)
  local i = self.at[group]
  local next = self.requests.group_next[i]
  self.touched = self.touched + 1
  self.moved[self.touched] = group
  self:remove(i)
  self.parked:push(i, cost)
  self.at[group] = next
  if next == NONE then lib.gdn_heap_remove(self.heap, group) end
end

function ByGroup:finish()
  for n = 1, self.touched do
    local group = self.moved[n]
    self.at[group] = self.head[group]
    if self.head[group] then set(self, group) end
  end
end

local M = {}

--- policy.group names the requests' column that separates the groups: "user" or "class".
--- An empty queue with room for all; nil: no memory.
function M.new(requests, fifo, policy, limit)
  local back, heap = parked.new(requests, true), heaps(requests.capacity)
  if not back or not heap then return nil end
  return setmetatable({
    requests = requests, fifo = fifo, column = policy.group, limit = limit,
    heap = heap, items = items_t(limit),
    head = {}, tail = {}, at = {}, active = {}, place = {}, moved = {},
    count = 0, turn = 0, parked = back,
  }, ByGroup)
end

return M
