-- Histograms with fixed bounds, one for each series, in two arrays: observing allocates nothing.
local array_of = require "gdnmeta.array_of"

local doubles = array_of "double"

local Histogram = {}
Histogram.__index = Histogram

--- Count `seconds` once. Less than 0, of a clock that was set back, counts as 0: sums never fall.
---@param series integer 0-based
---@param seconds number
function Histogram:observe(series, seconds)
  local bounds, n, b = self.bounds, self.n, 0
  if seconds < 0 then seconds = 0 end
  while b < n and seconds > bounds[b] do b = b + 1 end
  local at = series * (n + 1) + b
  self.counts[at] = self.counts[at] + 1
  self.sums[series] = self.sums[series] + seconds
end

--- How many were counted.
---@param series integer
---@return number
function Histogram:total(series)
  local total = 0
  for b = 0, self.n do total = total + self.counts[series * (self.n + 1) + b] end
  return total
end

local M = {}

--- Bounds in seconds, from first to last in steps of 1, 2.5 and 5 times powers of ten.
---@param first number a power of ten
---@param last number
---@return table
function M.bounds(first, last)
  local list = {}
  for decade = math.floor(math.log10(first) + 0.5), 6 do
    for _, factor in ipairs { 1, 2.5, 5 } do
      local bound = tonumber(("%ge%d"):format(factor, decade)) -- as it is printed: 0.1, not 0.1 and a bit
      if bound <= last then list[#list + 1] = bound end
    end
  end
  return list
end

---@param bounds table ascending; a last bucket of +Inf comes on top
---@param series integer
function M.new(bounds, series)
  local n = #bounds
  return setmetatable({ bounds = doubles(n, bounds), n = n, counts = doubles(series * (n + 1)),
                        sums = doubles(series) }, Histogram)
end

return M
