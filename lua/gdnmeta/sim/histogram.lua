-- Many numbers, kept exactly as value -> count: a run has millions of gaps between tokens, but few
-- different ones, because simulated times are whole nanoseconds.
local Samples = {}
Samples.__index = Samples

local M = {}

function M.new()
  return setmetatable({ counts = {}, n = 0, sum = 0 }, Samples)
end

---@param value number
---@param count? integer default 1
function Samples:add(value, count)
  count = count or 1
  local counts = self.counts
  counts[value] = (counts[value] or 0) + count
  self.n, self.sum = self.n + count, self.sum + value * count
  self.sorted = nil
end

-- Values in order, and how many samples are up to each.
local function ranks(self)
  if self.sorted then return self.sorted, self.upto end
  local sorted, upto, seen = {}, {}, 0
  for value in pairs(self.counts) do sorted[#sorted + 1] = value end
  table.sort(sorted)
  for i, value in ipairs(sorted) do
    seen = seen + self.counts[value]
    upto[i] = seen
  end
  self.sorted, self.upto = sorted, upto
  return sorted, upto
end

--- Nearest rank: the smallest sample that at least p percent of all do not exceed.
---@param p number 0 .. 100
---@return number|nil value nil of no samples
function Samples:percentile(p)
  if self.n == 0 then return nil end
  local sorted, upto = ranks(self)
  local rank = math.ceil(self.n * p / 100)
  local low, high = 1, #sorted
  while low < high do
    local middle = math.floor((low + high) / 2)
    if upto[middle] >= rank then high = middle else low = middle + 1 end
  end
  return sorted[low]
end

---@return number|nil
function Samples:mean()
  if self.n > 0 then return self.sum / self.n end
end

---@return number|nil
function Samples:max()
  return self:percentile(100)
end

--- How many samples are at most `limit`.
---@return integer
function Samples:count_upto(limit)
  local n = 0
  for value, count in pairs(self.counts) do
    if value <= limit then n = n + count end
  end
  return n
end

--- The usual figures of a distribution, multiplied by `scale`; empty of no samples.
---@param scale? number
---@return table summary n, mean, p50, p90, p95, p99, max
function Samples:summary(scale)
  if self.n == 0 then return { n = 0 } end
  scale = scale or 1
  local summary = { n = self.n, mean = self:mean() * scale, max = self:max() * scale }
  for _, p in ipairs { 50, 90, 95, 99 } do summary["p" .. p] = self:percentile(p) * scale end
  return summary
end

return M
