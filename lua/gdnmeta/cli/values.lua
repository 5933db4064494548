-- Values of options: a reader turns an option's text into its value, or returns nil and what it wants.
local args = require "gdnmeta.native.args"

local M = {}

--- Raise a user's mistake, or a failure outside the program: a message without a source line.
---@param message string
function M.fail(message, ...)
  if select("#", ...) > 0 then message = message:format(...) end
  error({ message = message }, 0)
end
local fail = M.fail

--- Decimal digits alone: no 0x10, nan or inf, which tonumber takes as well.
---@param text string
---@return number|nil
function M.decimal(text)
  return text:find "^%d*%.?%d*[eE]?[+-]?%d*$" and tonumber(text) or nil
end

---@param least number
---@param most number
---@param what? string in front of the range
---@return function reader
function M.number(least, most, what)
  return function(text)
    local n = M.decimal(text)
    if n and n >= least and n <= most then return n end
    return nil, ("%s in %.15g .. %.15g"):format(what or "a number", least, most)
  end
end

---@param least number
---@param most number
---@return function reader
function M.integer(least, most)
  local number = M.number(least, most, "an integer")
  return function(text)
    local n, wanted = number(text)
    if n and n % 1 ~= 0 then return number "" end
    return n, wanted
  end
end

--- Any text but none.
---@param what string
---@return function reader
function M.text(what)
  return function(text)
    if text ~= "" then return text end
    return nil, what
  end
end

--- One of some names.
---@return function reader
function M.one_of(...)
  local known, names = {}, { ... }
  for _, name in ipairs(names) do known[name] = true end
  return function(text)
    if known[text] then return text end
    return nil, "one of " .. table.concat(names, ", ")
  end
end

--- A reader of name=number,name=number.
function M.pairs_of(text)
  local list = {}
  for part in (text .. ","):gmatch "([^,]*)," do
    local name, value = part:match "^%s*([%a_]+)=(%S+)%s*$"
    local n = name and M.decimal(value)
    if not n then return nil, "name=number,name=number" end
    if list[name] then return nil, name .. " once" end
    list[name] = n
  end
  return list
end

--- The value of an option, or its default; fails if its reader refuses the value.
---@param flag string
---@param text string|nil
---@param reader function
---@param default any
---@return any
function M.read(flag, text, reader, default)
  if text == nil then return default end
  local value, wanted = reader(text)
  if value == nil then fail("%s", args.wrong(flag, text, wanted)) end
  return value
end

return M
