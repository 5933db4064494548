-- Are times in the unit that the format has? That cannot be known for sure; a trace that would have a
-- thousand times too many or too few requests per second is refused, with what to pass instead.
local M = {}

local YEAR_2001, YEAR_2100 = 1e9, 4.1e9 -- seconds since 1970
local LATE = 1e6 -- seconds: a trace does not begin twelve days after its own beginning
local ORDER = { { "s", 1 }, { "ms", 1e3 }, { "us", 1e6 }, { "ns", 1e9 } }
local NAMES = { [1] = "seconds", [1e3] = "milliseconds", [1e6] = "microseconds", [1e9] = "nanoseconds" }

-- A time since 1970 determines its unit.
local function since_1970(value)
  for _, unit in ipairs(ORDER) do
    local seconds = value / unit[2]
    if seconds >= YEAR_2001 and seconds <= YEAR_2100 then return unit end
  end
end

--- Does a time in that unit count from 1970?
---@param value number
---@param unit number
---@return boolean
function M.calendar(value, unit)
  local epoch = since_1970(value)
  return epoch ~= nil and epoch[2] == unit
end

-- The unit that makes the rate of requests most like a server's: 5 per second, roughly.
local function likeliest(parts_per_request)
  local best, least
  for _, unit in ipairs(ORDER) do
    local off = math.abs(math.log(unit[2] / parts_per_request / 5))
    if not least or off < least then best, least = unit, off end
  end
  return best
end

local function refusal(seen, unit, other)
  local own = unit == 1 and "s" or unit == 1e3 and "ms" or unit == 1e6 and "us" or "ns"
  return ("%s = %.15g .. %.15g in %d rows is implausible in %s; pass --time-unit %s if it is %s, "
    .. "--time-unit %s to read it so"):format(seen.name, seen.low, seen.high, seen.n, NAMES[unit], other[1],
    NAMES[other[2]], own)
end

--- What speaks against the unit.
---@param seen table name, low, high (as they stand in the file), n of rows, fraction: have some one?
---@param unit number parts of a second
---@param format string
---@return string|nil message
function M.problem(seen, unit, format)
  local epoch = since_1970(seen.low)
  if epoch and epoch[2] ~= unit and seen.low / unit >= LATE then return refusal(seen, unit, epoch) end
  if epoch and epoch[2] == unit or seen.n < 3 or seen.high <= seen.low then return nil end
  local gap = (seen.high - seen.low) / (seen.n - 1) -- in parts of a second
  local rate = unit / gap -- requests per second
  if unit == 1e3 then
    local most = seen.fraction and 60 or seen.n < 8 and 300 or 150
    return rate > most and refusal(seen, unit, ORDER[1]) or nil
  end
  -- BurstGPT begins with one request per minute.
  local least = (seen.fraction or format == "burstgpt") and 1 / 1000 or seen.n < 8 and 1 / 300 or 1 / 60
  if unit == 1 and rate < least then return refusal(seen, unit, likeliest(gap)) end
end

return M
