-- Waiting requests by arrival; those that were preempted come back to the front. Links live in the
-- requests' columns `next` and `prev`.
local NONE = require("gdnmeta.engine.requests").NONE
local HALF = 64 -- looks

local Fifo = {}
Fifo.__index = Fifo

function Fifo:push_back(i)
  local r, tail = self.requests, self.tail
  r.next[i], r.prev[i] = NONE, tail
  if tail == NONE then self.head = i else r.next[tail] = i end
  self.tail, self.size = i, self.size + 1
end

function Fifo:push_front(i)
  local r, head = self.requests, self.head
  r.next[i], r.prev[i] = head, NONE
  if head == NONE then self.tail = i else r.prev[head] = i end
  self.head, self.size = i, self.size + 1
end

function Fifo:remove(i)
  local r = self.requests
  local next, prev = r.next[i], r.prev[i]
  if prev == NONE then self.head = next else r.next[prev] = next end
  if next == NONE then self.tail = prev else r.prev[next] = prev end
  if self.rotation == i then self.rotation = next end
  if self.cursor == i then self.cursor = next end
  self.size = self.size - 1
end

--- The next one of an endless walk round the queue; NONE when it is empty.
---@return integer
function Fifo:rotate()
  local i = self.rotation ~= NONE and self.rotation or self.head
  self.rotation = i ~= NONE and self.requests.next[i] or NONE
  return i
end

-- The built-in policy walks the queue as it stands: candidates come by arrival.
-- Those that a policy holds take half of a step's looks from the head on, the other half from where the step
-- before stopped looking.
function Fifo:begin() self.at, self.looked, self.has_jumped = self.head, 0, false end
function Fifo:candidate() return self.at end
function Fifo:advance() self.at = self.requests.next[self.at] end

function Fifo:hold(cost)
  self.looked = self.looked + cost
  self:advance()
  if self.looked < HALF or self.has_jumped then return end
  self.has_jumped = true
  if self.cursor ~= NONE then self.at = self.cursor end
end

Fifo.pass = Fifo.hold

function Fifo:finish()
  self.cursor = self.looked >= HALF and self.at or NONE
end

local M = {}

function M.new(requests)
  return setmetatable({ requests = requests, head = NONE, tail = NONE, size = 0, rotation = NONE, at = NONE,
                        cursor = NONE }, Fifo)
end

return M
