-- The orders of waiting requests as plain lists, for queues_spec.lua. A model has the face of a queue: push,
-- remove, begin, candidate, advance or hold or pass, finish. Keys are asked for by keys:join(i), when a
-- request joins, and keys:ask(list, step); keys.now has them, keys.asked the step. `arrivals`: all that wait.
local M = {}

-- LuaJIT 2.1.0-beta3, seldom, loses the number that least() keeps from pairs(), once it is compiled.
jit.off(true, true)

local function place_of(list, i)
  for n, other in ipairs(list) do
    if other == i then return n end
  end
end

local function take_out(list, i) table.remove(list, assert(place_of(list, i))) end

-- The least by key, of equals by tie, of those in a table { [number] = key }; -1: none.
local function least(by, tie)
  local best = -1
  for i, key in pairs(by) do
    if best < 0 or key < by[best] or key == by[best] and tie[i] < tie[best] then best = i end
  end
  return best
end

-- Those that are kept apart: { i, cost } in the order of their turns.
local Apart = {}
Apart.__index = Apart

function Apart:push(i, cost) self[#self + 1] = { i, cost } end

function Apart:remove(i)
  for n, entry in ipairs(self) do
    if entry[1] == i then
      self.keys[i] = nil
      return table.remove(self, n)[2]
    end
  end
end

-- Half of 64 looks go to the best of them, the others by turn.
function Apart:begin(key_of, put)
  for _, entry in ipairs(self) do self.keys[entry[1]] = self.keys[entry[1]] or key_of(entry[1]) end
  local best, turns = 32, 32
  while self[1] and (best > 0 or turns > 0) do
    local is_best = best > 0
    local i = is_best and least(self.keys, self.tie) or self[1][1]
    local cost = self:remove(i)
    if is_best then best = best - cost else turns = turns - cost end
    put(i)
  end
end

local function apart(tie) return setmetatable({ keys = {}, tie = tie }, Apart) end

-- By arrival: `list` has those that wait.
local Fifo = {}
Fifo.__index = Fifo

local function after(list, i) return list[place_of(list, i) + 1] or -1 end

function Fifo:push(i, front) table.insert(self.list, front and 1 or #self.list + 1, i) end

function Fifo:remove(i)
  local next = after(self.list, i)
  if self.turn == i then self.turn = next end
  if self.cursor == i then self.cursor = next end
  take_out(self.list, i)
end

--- The next one of an endless walk.
function Fifo:rotate()
  local i = self.turn >= 0 and self.turn or self.list[1] or -1
  self.turn = i >= 0 and after(self.list, i) or -1
  return i
end

function Fifo:begin() self.at, self.looks, self.is_far = self.list[1] or -1, 0, false end
function Fifo:candidate() return self.at end
function Fifo:advance() self.at = after(self.list, self.at) end

function Fifo:hold(cost)
  self.looks = self.looks + cost
  self:advance()
  if self.looks >= 64 and not self.is_far then
    self.is_far = true
    if self.cursor >= 0 then self.at = self.cursor end
  end
end

Fifo.pass = Fifo.hold
function Fifo:finish() self.cursor = self.looks >= 64 and self.at or -1 end

function M.fifo() return setmetatable({ list = {}, turn = -1, cursor = -1 }, Fifo) end

-- By key: `by` has the keys by which those stand that may come next.
local Keyed = {}
Keyed.__index = Keyed

function Keyed:push(i) self.by[i] = self.keys:join(i) end

function Keyed:remove(i)
  if not self.apart:remove(i) then self.by[i] = nil end
end

function Keyed:begin(step)
  self.step, self.fresh, self.done, self.is_keyed = step, 0, {}, self.is_static
  self.apart:begin(function(i) return self.keys.now[i] end, function(i) self.by[i] = self.keys.now[i] end)
end

-- As many as `limit` in turn.
local function ask_in_turn(self)
  local turn = {}
  for n = 1, math.min(#self.arrivals.list, self.limit) do turn[n] = self.arrivals:rotate() end
  if not self.keys:ask(turn, self.step) then return false end
  for _, i in ipairs(turn) do
    local holder = place_of(self.waiting_apart(), i) and self.apart.keys or self.by
    holder[i] = self.keys.now[i]
  end
  return true
end

function Keyed:candidate(compares)
  if not self.is_keyed then
    if not compares and #self.arrivals.list == 1 then return least(self.by, self.tie) end
    if not ask_in_turn(self) then return nil end
    self.is_keyed = true
  end
  while true do
    local i = least(self.by, self.tie)
    local is_fresh = self.is_static or self.keys.asked[i] == self.step or self.fresh >= self.limit
    if i < 0 or is_fresh then return i end
    self.fresh = self.fresh + 1
    if not self.keys:ask_one(i, self.step) then return nil end
    self.by[i] = self.keys.now[i]
  end
end

function Keyed:advance()
  local i = least(self.by, self.tie)
  self.by[i] = nil
  self.done[#self.done + 1] = i
  local back = least(self.apart.keys, self.tie)
  if back >= 0 then
    self.apart:remove(back)
    self.by[back] = self.keys.now[back]
  end
end

function Keyed:hold(cost)
  local i = least(self.by, self.tie)
  self.by[i] = nil
  self.apart:push(i, cost)
end

Keyed.pass = Keyed.hold

function Keyed:finish()
  for _, i in ipairs(self.done) do self.by[i] = self.keys.now[i] end
  self.done = {}
end

function M.by_key(keys, arrivals, tie, is_static, limit)
  local self = setmetatable({ keys = keys, arrivals = arrivals, tie = tie, is_static = is_static,
                              limit = limit, by = {}, apart = apart(tie), done = {} }, Keyed)
  function self.waiting_apart()
    local list = {}
    for n, entry in ipairs(self.apart) do list[n] = entry[1] end
    return list
  end
  return self
end

-- By group: `groups[g]` lists its requests; `at[g]` is the one that stands for it, -1: none.
local Grouped = {}
Grouped.__index = Grouped

-- Its key is asked for when it comes to the top: now.
local function stand(self, g, i)
  self.at[g], self.by[g], self.by_tie[g] = i, i >= 0 and -math.huge or nil, 0
end

local function stand_by_key(self, g, i)
  self.at[g], self.by[g], self.by_tie[g] = i, self.keys.now[i], self.tie[i]
end

local function restore(self, g)
  if self.groups[g] then stand_by_key(self, g, self.groups[g][1]) else stand(self, g, -1) end
end

local function put(self, i, n)
  local g = self.group[i]
  if not self.groups[g] then
    self.groups[g] = {}
    self.open[#self.open + 1] = g
  end
  table.insert(self.groups[g], n or #self.groups[g] + 1, i)
end

function Grouped:push(i, front)
  local g = self.group[i]
  put(self, i, front and 1)
  self.keys:join(self.groups[g][1])
  restore(self, g)
end

function Grouped:remove(i)
  if self.apart:remove(i) then return end
  local g = self.group[i]
  take_out(self.groups[g], i)
  self.at[g] = self.groups[g][1] or -1
  if self.groups[g][1] then return end
  local n = place_of(self.open, g) -- the last one that is open takes its turn
  self.open[n] = self.open[#self.open]
  self.open[#self.open], self.groups[g], self.by[g] = nil, nil, nil
end

-- Before those that were submitted later.
local function put_back(self, i)
  local g, n = self.group[i], 1
  for _, other in ipairs(self.groups[g] or {}) do
    if self.tie[other] >= self.tie[i] then break end
    n = n + 1
  end
  put(self, i, n)
  local head = self.groups[g][1]
  self.keys.asked[i], self.keys.asked[head] = -1, -1
  stand(self, g, head)
end

function Grouped:begin(step)
  self.step, self.is_keyed, self.moved = step, false, {}
  self.apart:begin(function() return 0 end, function(i) put_back(self, i) end)
end

local function ask_groups(self)
  local items = {}
  for n = 1, math.min(#self.open, self.limit) do
    if self.turn >= #self.open then self.turn = 0 end
    self.turn = self.turn + 1
    items[n] = self.groups[self.open[self.turn]][1]
  end
  if not self.keys:ask(items, self.step) then return false end
  for _, i in ipairs(items) do restore(self, self.group[i]) end
  return true
end

function Grouped:candidate(compares)
  if not self.is_keyed then
    if not compares and #self.open == 1 then return self.at[least(self.by, self.by_tie)] or -1 end
    if not ask_groups(self) then return nil end
    self.is_keyed = true
  end
  while true do
    local g = least(self.by, self.by_tie)
    if g < 0 then return -1 end
    local i = self.at[g]
    if self.keys.asked[i] == self.step then return i end
    self.keys:ask_one(i, self.step)
    stand_by_key(self, g, i)
  end
end

local function next_of_first(self)
  local g = least(self.by, self.by_tie)
  self.moved[#self.moved + 1] = g
  return g, self.at[g], after(self.groups[g], self.at[g])
end

function Grouped:advance()
  local g, _, next = next_of_first(self)
  stand(self, g, next)
end

Grouped.pass = Grouped.advance

function Grouped:hold(cost)
  local g, i, next = next_of_first(self)
  self:remove(i)
  self.apart:push(i, cost)
  stand(self, g, next)
end

function Grouped:finish()
  for _, g in ipairs(self.moved) do restore(self, g) end
  self.moved = {}
end

function M.by_group(keys, group, tie, limit)
  return setmetatable({ keys = keys, group = group, tie = tie, limit = limit, groups = {}, at = {}, by = {},
                        by_tie = {}, open = {}, turn = 0, apart = apart(tie), moved = {} }, Grouped)
end

return M
