-- Values of a trace: from text or from JSON to numbers, or nil and what is wrong, by the column's name.
local M = { MAX_TOKENS = 2^30 - 1 } -- prompt + output stays an int32 sequence length

--- A value of a file in a message: in quotes where it would not stand out, and not all of a long one.
---@return string
function M.shown(value)
  if type(value) ~= "string" then
    return type(value) == "userdata" and "null" or type(value) == "table" and "a list" or tostring(value)
  end
  if #value > 40 then return M.shown(value:sub(1, 40)) .. "..." end
  if value:find "^[%w_.:+ -]+$" and not value:find "^ " and not value:find " $" then return value end
  return (("%q"):format(value):gsub("\\\n", "\\n"):gsub("%c", "?"))
end

local function wrong(name, value, wanted)
  if value == nil then return name .. " is missing, want " .. wanted end
  return ("%s = %s, want %s"):format(name, M.shown(value), wanted)
end

--- Digits as people write them: no 0x10, nan, inf.
---@return number|nil
function M.decimal(value)
  if type(value) == "number" then return value - value == 0 and value or nil end
  if type(value) ~= "string" or not value:find "^[+-]?%d*%.?%d*[eE]?[+-]?%d*$" then return nil end
  local n = tonumber(value)
  return n and n - n == 0 and n or nil
end
local decimal = M.decimal

---@return number|nil n, string? message
function M.number(name, value, min, max)
  local n = decimal(value)
  if not n or n < min or n > max then
    local range = min <= -1e15 and "" or max >= 1e15 and (" >= %.15g"):format(min)
      or (" in %.15g .. %.15g"):format(min, max)
    return nil, wrong(name, value, "a number" .. range)
  end
  return n
end

--- A count of tokens; 0 is one.
---@return number|nil n, string? message
function M.tokens(name, value)
  local n = decimal(value)
  if not n or n < 0 or n > M.MAX_TOKENS or n % 1 ~= 0 then
    return nil, wrong(name, value, ("an integer in 1 .. %.0f"):format(M.MAX_TOKENS))
  end
  return n
end

-- Days since a fixed one, by counting years from March (leap days come last).
local function days(year, month, day)
  if month < 3 then year, month = year - 1, month + 12 end
  return 365 * year + math.floor(year / 4) - math.floor(year / 100) + math.floor(year / 400)
    + math.floor((153 * month - 457) / 5) + day
end

local LENGTH = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

-- Seconds that a zone is ahead of UTC; none is UTC.
local function offset(zone)
  if zone == "" or zone == "Z" or zone == "z" or zone == " UTC" then return 0 end
  local sign, hours, minutes = zone:match "^ ?([+-])(%d%d):?(%d*)$"
  if not sign or #minutes ~= 0 and #minutes ~= 2 then return nil end
  return (tonumber(hours) * 60 + (tonumber(minutes) or 0)) * (sign == "-" and -60 or 60)
end

--- Seconds since midnight of day `from`: an absolute time in seconds would lose its digits.
---@param text string such as 2023-11-16 18:15:46.6805900+00:00
---@param from? integer
---@return number|nil seconds nil of what is no date
---@return integer? from that day, or the text's own
function M.clock(text, from)
  local y, mo, d, h, mi, rest = text:match "^(%d%d%d%d)[-/](%d%d?)[-/](%d%d?)[ T](%d%d?):(%d%d)(.*)$"
  if not y then return nil end
  local s, zone = rest:match "^:(%d%d[.,]?%d*)(.*)$"
  local ahead = offset(zone or rest)
  y, mo, d, h, mi = tonumber(y), tonumber(mo), tonumber(d), tonumber(h), tonumber(mi)
  s = s and tonumber((s:gsub(",", "."))) or 0
  local leap = mo == 2 and (y % 4 == 0 and y % 100 ~= 0 or y % 400 == 0) and 1 or 0
  if not (ahead and LENGTH[mo]) or d < 1 or d > LENGTH[mo] + leap or h > 23 or mi > 59 or s >= 61 then
    return nil
  end
  local day = days(y, mo, d)
  from = from or day
  return (day - from) * 86400 + h * 3600 + mi * 60 + s - ahead, from
end

return M
