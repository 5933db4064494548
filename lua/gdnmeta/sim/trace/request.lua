-- A row's fields as a request: times in seconds, lengths in tokens, the rest where the row has it.
local values = require "gdnmeta.sim.trace.values"

local number, tokens = values.number, values.tokens

local M = { UNREADABLE = "unreadable" }

local MAX_SPAN = 1e9 -- seconds from the first row to any other
local MAX_TIME = 1e19 -- in any unit
local DATE = "2023-11-16 18:15:46.68"

--- Parts of a second in a column: from the caller, else by its name, else by the format.
---@return number
function M.unit(t, field)
  return field == "arrival" and t.time_unit or t.reader.units[field] or t.time_unit or t.unit
end

-- What files write where a row has no session or chat. No chat is called so: a parent of that name is none.
local NONE = { ["-1"] = true, nan = true, NaN = true, null = true, None = true, NULL = true }

local function forget_nobody(row)
  if NONE[tostring(row.session)] then row.session = nil end
  if NONE[tostring(row.chat)] then row.chat = nil end
end

-- Seconds on the clock of the file: a number in its unit, or a date.
local function moment(t, field, value)
  local column, at, message = t.reader.names[field] or field -- none: all other rows have sessions
  if t.dated == nil and field == "arrival" then
    t.dated = not t.time_unit and type(value) == "string" and value:find "^%d%d%d%d[-/]%d" ~= nil
  end
  if t.dated then
    at, t.day = values.clock(tostring(value), t.day)
    if not at then
      local shown = value == nil and " is missing" or " = " .. values.shown(value)
      return nil, column .. shown .. ", want a time such as " .. DATE
    end
  else
    at, message = number(column, value, 0, MAX_TIME)
    if not at and tostring(value):find "%d[/:]%d" then message = message .. ", or a time such as " .. DATE end
    if not at then return nil, message end
    if field == "arrival" then t.raw = at end
    at = at / M.unit(t, field)
  end
  t.first = t.first or at
  if math.abs(at - t.first) > MAX_SPAN then
    return nil, ("%s = %s, want at most %.0f seconds from the first one"):format(column, values.shown(value),
      MAX_SPAN)
  end
  return at
end

local function seconds(t, field, value)
  local n, message = number(t.reader.names[field], value, 0, MAX_TIME)
  return n and n / (field == "delay" and M.unit(t, field) or t.reader.units[field] or 1), message
end

local function label(t, field, value)
  if type(value) == "table" then
    return nil, ("%s = %s, want a name"):format(t.reader.names[field], values.shown(value))
  end
  return tostring(value)
end

-- Ids of the prompt's blocks, as they stand there.
local function hashes(t, field, value)
  local name = t.reader.names[field]
  if type(value) ~= "table" then
    return nil, ("%s = %s, want a list of integers or strings"):format(name, values.shown(value))
  end
  local n = 0
  for _ in pairs(value) do n = n + 1 end
  if n ~= #value then return nil, name .. " is an object, want a list of integers or strings" end
  for i = 1, n do
    local id = value[i]
    if type(id) ~= "string" and not (type(id) == "number" and id % 1 == 0 and math.abs(id) < 2^53) then
      return nil, ("%s[%d] = %s, want an integer between -2^53 and 2^53 or a string"):format(name, i,
        values.shown(id))
    end
  end
  return value
end

local OPTIONAL = {
  { "user", label }, { "class", label }, { "session", label }, { "chat", label }, { "parent", label },
  { "priority", function(t, field, value) return number(t.reader.names[field], value, -1e15, 1e15) end },
  { "weight", function(t, field, value) return number(t.reader.names[field], value, 1e-6, 1e6) end },
  { "ttft", seconds }, { "tpot", seconds }, { "deadline", moment }, { "delay", seconds },
  { "elapsed", seconds }, { "hashes", hashes },
}

--- The request of reader.row; or nil and why the row is left out, and what is wrong in it.
---@param t table state of a reading: reader, unit, time_unit; sets dated, first, raw (its time as it stands)
---@param line integer
---@return table|nil request, string? reason, string? message
function M.of(t, line)
  local reader, row = t.reader, t.reader.row
  local names = reader.names
  forget_nobody(row)
  local prompt, message = tokens(names.prompt, row.prompt)
  if not prompt then return nil, M.UNREADABLE, message end
  local output
  output, message = tokens(names.output, row.output)
  if not output then return nil, M.UNREADABLE, message end
  if output == 0 then return nil, "without output tokens" end
  if prompt == 0 then return nil, "without prompt tokens" end
  local r = { prompt = prompt, output = output, line = line }
  t.raw = nil
  if row.arrival ~= nil or not (row.session or row.chat) then
    r.arrival, message = moment(t, "arrival", row.arrival)
    if not r.arrival then return nil, M.UNREADABLE, message end
  end
  for i = 1, #OPTIONAL do
    local field = OPTIONAL[i][1]
    local value = row[field]
    if value ~= nil then
      r[field], message = OPTIONAL[i][2](t, field, value)
      if r[field] == nil then return nil, M.UNREADABLE, message end
    end
  end
  return r
end

return M
