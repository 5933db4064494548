-- The domain of a request's field: { test, expected }. A test returns whether a value is legal, and if
-- not perhaps a message of its own.
local json = require "examples.nginx.json"

local null = json.null

local M = {}

--- A value as a message shows it.
function M.shown(value)
  if type(value) == "string" then
    return #value <= 40 and '"' .. json.ascii(value) .. '"' or ("a string of %d bytes"):format(#value)
  end
  if value == null then return "null" end
  return type(value) == "table" and "an object or a list" or tostring(value)
end

function M.integer(low, high)
  return { function(value)
    return type(value) == "number" and value % 1 == 0 and value >= low and value <= high
  end, ("an integer in %.14g .. %.14g"):format(low, high) }
end

function M.number(low, high)
  return { function(value)
    return type(value) == "number" and value >= low and value <= high
  end, ("a number in %g .. %g"):format(low, high) }
end

--- What this server does not do: only the values that ask for nothing.
function M.only(...)
  local wanted, words = { ... }, {}
  for n, value in ipairs(wanted) do words[n] = M.shown(value) end
  return { function(value)
    for _, legal in ipairs(wanted) do
      if value == legal then return true end
    end
    return false
  end, words[1] and table.concat(words, " or ") or "null" }
end

M.empty = { function(value) return type(value) == "table" and next(value) == nil end, "none" }
M.object = { function(value) return type(value) == "table" and value[1] == nil end, "an object" }
M.boolean = { function(value) return type(value) == "boolean" end, "true or false" }
M.short = { function(value)
  return type(value) == "string" and #value <= 256
end, "a string of at most 256 bytes" }
-- It is sent back.
M.printable = { function(value)
  return type(value) == "string" and #value <= 256 and not value:find "[^\32-\126]"
end, "a string of at most 256 characters of ASCII" }

--- A list without holes: nil for an object.
---@return integer|nil length
function M.length(value)
  if type(value) ~= "table" then return nil end
  local count = 0
  for key in pairs(value) do
    if type(key) ~= "number" then return nil end
    count = count + 1
  end
  return count == #value and count or nil
end

--- An object whose fields are known; null stands for a field that is not given.
---@param fields table name -> { test, what is wanted }
---@return table
function M.record(fields, wanted)
  return { function(value)
    if type(value) ~= "table" then return false end
    for name, field in pairs(value) do
      local rule = fields[name]
      if not rule or field ~= null and not rule[1](field) then return false end
    end
    return true
  end, wanted }
end

--- The fields of an object that are given, each legal.
---@param given table
---@param rules table name -> { test, what is wanted }
---@return table|nil fields
---@return string? message
---@return string? param the field at fault
function M.read(given, rules)
  local fields = {}
  for name, value in pairs(given) do
    local rule = rules[name]
    if not rule then
      return nil, "unknown field " .. M.shown(name), json.ascii(tostring(name):sub(1, 40))
    end
    if value ~= null then
      local legal, problem = rule[1](value)
      if not legal then
        return nil, problem and ("%s%s"):format(name, problem)
          or ("%s = %s, want %s"):format(name, M.shown(value), rule[2]), name
      end
      fields[name] = value
    end
  end
  return fields
end

return M
