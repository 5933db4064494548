-- A run drawn over time in a fixed number of bins: when the run outgrows them, neighbours are merged
-- and a bin lasts twice as long. Memory stays what it was at the start.
local BINS = 240

local Timeline = {}
Timeline.__index = Timeline

local M = {}

-- For each channel: a sum over the bin's steps.
---@param channels table names
---@param seconds? number how long a bin lasts at first
function M.new(channels, seconds)
  local self = { channels = channels, width = seconds or 0.05, last = 0, sums = {}, steps = {} }
  for bin = 1, BINS do self.steps[bin] = 0 end
  for _, name in ipairs(channels) do
    local sums = {}
    for bin = 1, BINS do sums[bin] = 0 end
    self.sums[name] = sums
  end
  return setmetatable(self, Timeline)
end

local function halve(list)
  for bin = 1, BINS do
    list[bin] = bin <= BINS / 2 and list[2 * bin - 1] + list[2 * bin] or 0
  end
end

--- The bin of a moment; the caller adds its figures to sums[channel][bin].
---@param at number seconds since the start of the run
---@return integer bin
function Timeline:step(at)
  while at >= self.width * BINS do
    halve(self.steps)
    for _, name in ipairs(self.channels) do halve(self.sums[name]) end
    self.width = 2 * self.width
    self.last = math.ceil(self.last / 2)
  end
  local bin = math.floor(at / self.width) + 1
  self.steps[bin] = self.steps[bin] + 1
  if bin > self.last then self.last = bin end
  return bin
end

--- Means over the steps of each bin that had any.
---@return table points list of { t = middle of the bin in seconds, steps = n, channel = mean, ... }
function Timeline:points()
  local points = {}
  for bin = 1, self.last do
    local n = self.steps[bin]
    if n > 0 then
      local point = { t = (bin - 0.5) * self.width, steps = n }
      for _, name in ipairs(self.channels) do point[name] = self.sums[name][bin] / n end
      points[#points + 1] = point
    end
  end
  return points
end

return M
