-- Recorded workloads: reads the public formats and returns requests by arrival. The first line
-- tells the format:
--   compact   arrival_s,prompt_tokens,output_tokens[,user]
--   azure     TIMESTAMP,ContextTokens,GeneratedTokens
--   burstgpt  Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
--   bailian   JSON lines with chat_id, timestamp in seconds
--   mooncake  JSON lines, timestamp in milliseconds
local contents = require "gdnmeta.sim.contents"

local M = {}

local MAX_SECONDS = 1e9
local MAX_TOKENS = 2^30 - 1 -- prompt + output stays an int32 sequence length

-- A value of a file in a message: in quotes where it would not stand out, and not all of a long one.
local function shown(value)
  if type(value) ~= "string" then return type(value) == "userdata" and "null" or tostring(value) end
  if #value > 40 then return shown(value:sub(1, 40)) .. "..." end
  if value:find "^[%w.:+ -]+$" and not value:find "^ " and not value:find " $" then return value end
  return (("%q"):format(value))
end

-- A reader turns a line into arrival, prompt, output, user; or nil and the reason. Fields arrive as
-- strings from a CSV and as anything at all from JSON.
local function number(name, value, min, max)
  local n = value
  if type(value) == "string" then
    n = value:find "^%d[%d.]*[eE]?[+-]?%d*$" and tonumber(value) -- no 0x10, nan, inf
  end
  if type(n) ~= "number" or not (n >= min and n <= max) then
    return nil, ("%s = %s, want a number in %.0f .. %.0f"):format(name, shown(value), min, max)
  end
  return n
end

local function tokens(name, value)
  local n = number(name, value, 1, MAX_TOKENS)
  if not n or n % 1 ~= 0 then
    return nil, ("%s = %s, want an integer in 1 .. %.0f"):format(name, shown(value), MAX_TOKENS)
  end
  return n
end

local function row(names, arrival, prompt, output, user)
  local at, p, o, err
  at, err = number(names[1], arrival, names.least or 0, MAX_SECONDS * (names.unit or 1))
  if not at then return nil, err end
  p, err = tokens(names[2], prompt)
  if not p then return nil, err end
  o, err = tokens(names[3], output)
  if not o then return nil, err end
  return at / (names.unit or 1), p, o, user
end

local function fields(line, least, most)
  local list = {}
  for field in (line .. ","):gmatch "([^,]*)," do list[#list + 1] = field end
  if #list < least or #list > most then
    return nil, ("%d fields, want %s"):format(#list, least == most and least or least .. " or " .. most)
  end
  return list
end

local COMPACT = { "arrival_s", "prompt_tokens", "output_tokens" }
local function compact(line)
  local f, err = fields(line, 3, 4)
  if not f then return nil, err end
  if f[4] == "" then return nil, "user is empty" end
  return row(COMPACT, f[1], f[2], f[3], f[4])
end

-- Days since a fixed one, by counting years from March (leap days come last).
local function days(year, month, day)
  if month < 3 then year, month = year - 1, month + 12 end
  return 365 * year + math.floor(year / 4) - math.floor(year / 100) + math.floor(year / 400)
    + math.floor((153 * month - 457) / 5) + day
end

local LENGTH = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

-- Seconds since midnight of day `from`: an absolute time in seconds would lose its digits.
local function clock(text, from)
  local y, mo, d, h, mi, s = text:match "^(%d%d%d%d)%-(%d%d)%-(%d%d)[ T](%d%d):(%d%d):(%d%d%.?%d*)$"
  if not y then return nil end
  y, mo, d, h, mi, s = tonumber(y), tonumber(mo), tonumber(d), tonumber(h), tonumber(mi), tonumber(s)
  local leap = mo == 2 and (y % 4 == 0 and y % 100 ~= 0 or y % 400 == 0) and 1 or 0
  if not LENGTH[mo] or d < 1 or d > LENGTH[mo] + leap or h > 23 or mi > 59 or s >= 61 then return nil end
  local day = days(y, mo, d)
  from = from or day
  return (day - from) * 86400 + h * 3600 + mi * 60 + s, from
end

-- Later releases of these files append the UTC offset, which is always zero.
local AZURE = { "seconds since the first day", "ContextTokens", "GeneratedTokens", least = -MAX_SECONDS }
local function azure(line, state)
  local f, err = fields(line, 3, 3)
  if not f then return nil, err end
  local at
  at, state.day = clock(f[1]:gsub("%+00:00$", ""), state.day)
  if not at then
    return nil, ("TIMESTAMP = %s, want a time such as 2023-11-16 18:15:46.68"):format(shown(f[1]))
  end
  return row(AZURE, at, f[2], f[3])
end

-- A response of 0 tokens is a failed request: counted, not replayed.
local BURSTGPT = { "Timestamp", "Request tokens", "Response tokens" }
local function burstgpt(line, state)
  local f, err = fields(line, 6, 6)
  if not f then return nil, err end
  if f[4] == "0" then
    state.skipped = state.skipped + 1
    return false
  end
  return row(BURSTGPT, f[1], f[3], f[4])
end

local function json_lines(names)
  return function(line)
    local ok, object = pcall(require("cjson").decode, line)
    if not ok or type(object) ~= "table" then
      return nil, ok and "want a JSON object" or tostring(object)
    end
    return row(names, object.timestamp, object.input_length, object.output_length)
  end
end
local mooncake = json_lines { "timestamp", "input_length", "output_length", unit = 1000 }
local bailian = json_lines { "timestamp", "input_length", "output_length" }

local HEADERS = {
  ["arrival_s,prompt_tokens,output_tokens"] = { "compact", compact },
  ["arrival_s,prompt_tokens,output_tokens,user"] = { "compact", compact },
  ["TIMESTAMP,ContextTokens,GeneratedTokens"] = { "azure", azure },
  ["Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type"] = { "burstgpt", burstgpt },
}

local function detect(first)
  if HEADERS[first] then return HEADERS[first][1], HEADERS[first][2], true end
  if first:find "^{" and first:find '"chat_id"' then return "bailian", bailian, false end
  if first:find "^{" then return "mooncake", mooncake, false end
end

local function by_arrival(a, b)
  if a.arrival ~= b.arrival then return a.arrival < b.arrival end
  return a.line < b.line
end

--- Requests of a workload's text, by arrival: { arrival = seconds, prompt = tokens, output = tokens,
--- user = string or nil, line = line in the text }. The list also says its `format` and how many
--- failed requests were `skipped`.
---@param text string
---@param name string named in messages
---@return table|nil requests, string? err
function M.parse(text, name)
  local requests, state = {}, { skipped = 0 }
  local format, reader, header
  local n = 0
  for line in (text:gsub("\n$", "") .. "\n"):gmatch "([^\n]*)\n" do
    n = n + 1
    line = line:gsub("\r$", "")
    if n == 1 then
      line = line:gsub("^\239\187\191", "") -- a byte order mark
      format, reader, header = detect(line)
      if not format then
        return nil, ("%s:1: first line %q is of no known format"):format(name, line:sub(1, 60))
      end
    end
    if not (n == 1 and header) and line ~= "" then
      local at, prompt, output, user = reader(line, state)
      if at == nil then return nil, ("%s:%d: %s"):format(name, n, prompt) end
      if at then
        requests[#requests + 1] = { arrival = at, prompt = prompt, output = output, user = user, line = n }
      end
    end
  end
  if #requests == 0 then return nil, name .. ": no request in it" end
  table.sort(requests, by_arrival)
  if format == "azure" then -- its times are of a calendar
    local first = requests[1].arrival
    for _, r in ipairs(requests) do r.arrival = r.arrival - first end
  end
  requests.format, requests.skipped = format, state.skipped
  return requests
end

--- The same of a file.
---@param path string
---@return table|nil requests, string? err
function M.read(path)
  local text, why = contents(path)
  if not text then return nil, why end
  return M.parse(text, path)
end

return M
