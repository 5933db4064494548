-- Waiting requests that a queue keeps apart after a look at them, so that a step comes to those behind
-- them: first in, first out. Each says what a look at it costs, and a step takes back as many as it can
-- look at and still have half of its looks for others. Links are the columns lane_next and lane_prev.
local BACK = 64 -- looks of a step that go to those that come back

local Parked = {}
Parked.__index = Parked

function Parked:push(i, cost)
  local r, tail = self.requests, self.tail
  r.parked[i], r.lane_next[i], r.lane_prev[i] = cost, -1, tail
  if tail < 0 then self.head = i else r.lane_next[tail] = i end
  self.tail = i
end

function Parked:remove(i)
  local r = self.requests
  local next, prev = r.lane_next[i], r.lane_prev[i]
  if prev < 0 then self.head = next else r.lane_next[prev] = next end
  if next < 0 then self.tail = prev else r.lane_prev[next] = prev end
  r.parked[i] = 0
end

--- A step begins.
function Parked:begin() self.left = BACK end

--- The next one that comes back in this step, or -1.
---@return integer
function Parked:pop()
  local i = self.head
  if i < 0 or self.left <= 0 then return -1 end
  self.left = self.left - self.requests.parked[i]
  self:remove(i)
  return i
end

local M = {}

function M.new(requests)
  return setmetatable({ requests = requests, head = -1, tail = -1, left = 0 }, Parked)
end

return M
