-- When requests arrive: at their own times, or, as turns of a session in closed loop, when the request before
-- them has ended and its reader has thought. Times are whole nanoseconds, requests their numbers in the list.
local Arrivals = {}
Arrivals.__index = Arrivals

local M = {}

local function ns(seconds) return math.floor(seconds * 1e9 + 0.5) end
M.ns = ns

---@param requests table by arrival; after: the request that one waits for, think: seconds
function M.new(requests)
  local self = { requests = requests, starts = {}, next_start = 1, turns = {}, heap = {}, size = 0, time = {},
                 left = #requests }
  local number = {}
  for i, r in ipairs(requests) do
    number[r] = i
    if r.after then
      local before = number[r.after]
      self.turns[before] = self.turns[before] or {}
      table.insert(self.turns[before], i)
    else
      self.starts[#self.starts + 1] = i
    end
  end
  return setmetatable(self, Arrivals)
end

-- A binary heap of turns whose time is known: by time, then by number.
local function earlier(self, i, j)
  local a, b = self.time[i], self.time[j]
  return a < b or a == b and i < j
end

local function push(self, i)
  local heap, at = self.heap, self.size + 1
  self.size = at
  while at > 1 do
    local up = math.floor(at / 2)
    if not earlier(self, i, heap[up]) then break end
    heap[at], at = heap[up], up
  end
  heap[at] = i
end

local function pop(self)
  local heap, n = self.heap, self.size
  local top, i, at = heap[1], heap[n], 1
  heap[n], self.size = nil, n - 1
  n = n - 1
  while 2 * at <= n do
    local down = 2 * at
    if down < n and earlier(self, heap[down + 1], heap[down]) then down = down + 1 end
    if not earlier(self, heap[down], i) then break end
    heap[at], at = heap[down], down
  end
  if n > 0 then heap[at] = i end
  return top
end

-- The next request, its time, and whether it is in the heap.
local function next_of(self)
  local start, turn = self.starts[self.next_start], self.heap[1]
  local at = start and ns(self.requests[start].arrival)
  if turn and (not start or self.time[turn] < at or self.time[turn] == at and turn < start) then
    return turn, self.time[turn], true
  end
  return start, at, false
end

--- When the next request arrives, of those whose time is known.
---@return number|nil
function Arrivals:next()
  local _, at = next_of(self)
  return at
end

--- Take the next request that has arrived by now.
---@param now number
---@return integer|nil i, number? at
function Arrivals:take(now)
  local i, at, turn = next_of(self)
  if not i or at > now then return nil end
  if turn then pop(self) else self.next_start = self.next_start + 1 end
  self.left = self.left - 1
  return i, at
end

--- Request i has ended: its next turns are on their way. One whose thinking is not known comes at its own
--- time, or now.
---@param i integer
---@param now number
function Arrivals:ended(i, now)
  for _, turn in ipairs(self.turns[i] or {}) do
    local r = self.requests[turn]
    self.time[turn] = r.think and now + ns(r.think) or math.max(now, ns(r.arrival))
    push(self, turn)
  end
end

return M
