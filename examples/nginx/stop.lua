-- Cuts an answer before its first stop text. The engine ends an answer after the byte that completes one;
-- until then, what may become one is held back.
local Cutter = {}
Cutter.__index = Cutter

-- Where the stop text begins that is complete first, if there is one; of several, the longest.
local function find(bytes, stops)
  local first, soonest
  for _, stop in ipairs(stops) do
    local at, to = bytes:find(stop, 1, true)
    if at and (not soonest or to < soonest or to == soonest and at < first) then first, soonest = at, to end
  end
  return first
end

-- How many of the last bytes could be the beginning of a stop text.
local function held(bytes, stops, longest)
  for length = math.min(#bytes, longest - 1), 1, -1 do
    local tail = bytes:sub(-length)
    for _, stop in ipairs(stops) do
      if #stop > length and stop:sub(1, length) == tail then return length end
    end
  end
  return 0
end

--- The bytes so far that are sure to be part of the answer and were not returned yet.
---@param bytes string
---@param last boolean|nil no bytes will follow
---@return string bytes
---@return boolean cut a stop text came: nothing more is to be fed
function Cutter:feed(bytes, last)
  if #self.stops == 0 then return bytes, false end
  bytes = self.held .. bytes
  local at = find(bytes, self.stops)
  if at then return bytes:sub(1, at - 1), true end
  local keep = last and 0 or held(bytes, self.stops, self.longest)
  self.held = bytes:sub(#bytes - keep + 1)
  return bytes:sub(1, #bytes - keep), false
end

local M = {}

---@param stops string[]|nil not empty each
function M.cutter(stops)
  local longest = 0
  for _, stop in ipairs(stops or {}) do longest = math.max(longest, #stop) end
  return setmetatable({ stops = stops or {}, longest = longest, held = "" }, Cutter)
end

return M
