-- Checks of arguments. A message names the thing, its value and the wanted range; the public
-- function that was called raises it at its caller's line.
local ffi = require "ffi"
local foreign_text = require "gdnmeta.native.foreign_text"

local tobit = bit.tobit

local M = { INT32_MIN = -2147483648, INT32_MAX = 2147483647 }

--- What is wrong with the path of a file. The C library ends it at a NUL byte, and would open another file.
---@return string|nil message
function M.path_problem(name, value)
  if type(value) ~= "string" then return M.wrong(name, value, "a string") end
  if value:find "%z" then return M.wrong(name, value, "a path without NUL bytes") end
end

--- Is `value` a whole number in low .. high? Both bounds lie within an int32, which is what makes
--- tobit the whole test: it differs from a fraction, from NaN and from whatever would wrap.
---@return boolean
function M.integer(value, low, high)
  return type(value) == "number" and tobit(value) == value and value >= low and value <= high
end

--- A value as a message shows it.
---@return string
function M.show(value)
  local kind = type(value)
  if kind == "number" then
    return value ~= value and "nan" or ("%.14g"):format(value)
  elseif kind == "string" then
    return foreign_text.quoted(value)
  elseif kind == "nil" or kind == "boolean" then
    return tostring(value)
  elseif kind == "cdata" then
    return tostring(ffi.typeof(value)):gsub("^ctype<(.*)>$", "cdata %1")
  end
  return "a " .. kind
end

--- What a file gave that should have given something else, as its message says it.
---@return string
function M.returns(value)
  return value == nil and "returns nothing" or "returns a " .. type(value)
end

--- An id or a name as it stands in a sentence, without quotes.
---@return string
function M.word(value)
  return type(value) == "string" and foreign_text.clean(value) or M.show(value)
end

---@return string message
function M.wrong(name, value, wanted)
  return ("%s = %s, want %s"):format(name, M.show(value), wanted)
end

---@return string message
function M.wrong_integer(name, value, low, high)
  return M.wrong(name, value, ("an integer in %d .. %d"):format(low, high))
end

local void_t = ffi.typeof "void *"

--- Nothing given: nil, or the null that JSON readers use (a light userdata of address 0).
---@return boolean
function M.absent(value)
  local kind = type(value) -- a null pointer of another kind is a mistake, and equal to nil
  return kind == "nil" or kind == "userdata" and ffi.cast(void_t, value) == nil
end

local holder = ffi.new "struct { void *pointer; }"
local function hold(value) holder.pointer = value end

--- May `value` stand where C wants a void pointer?
---@return boolean
function M.pointer(value)
  return type(value) ~= "table" and type(value) ~= "string" and (pcall(hold, value))
end

-- By the number of a C type: "array" and "pointer" of int32_t, "other" for the rest. A type's name is a
-- string, which each look would make anew.
local kinds = {}

local function learn(number, value)
  local name = tostring(ffi.typeof(value)):match "^ctype<(.*)>$"
  local element = name:gsub("^const ", "")
  local is_array = element:find "^int %[[%d?]+%]$" or element:find "^int %(&%)%[%d+%]$"
  kinds[number] = is_array and "array" or element == "int *" and "pointer" or "other"
  return kinds[number]
end

local function kind_of(value)
  if type(value) ~= "cdata" then return "other" end
  local number = tonumber(ffi.typeof(value))
  return kinds[number] or learn(number, value)
end

--- Elements of an int32_t array, which carries its length.
---@return integer|nil length nil for anything else, pointers included
function M.int32_array(value)
  if kind_of(value) == "array" then return ffi.sizeof(value) / 4 end
end

---@return boolean
function M.int32_pointer(value)
  return kind_of(value) == "pointer"
end

--- The fields of a table of arguments, each read once: an __index may give something else the next time.
---@param given table
---@param known table name -> anything
---@return table|nil copy nil: something unknown stands in it
---@return any unknown its name
function M.take(given, known)
  for name in next, given do
    if not known[name] then return nil, name end
  end
  local copy = {}
  for name in next, known do copy[name] = given[name] end
  return copy
end
jit.off(M.take) -- the LuaJIT of Debian 12 has crashed in compiled loops over tables of others

-- Lists are read without their metamethods, whose code could do anything in the middle of a call.

--- Elements up to the last one, which is more than # may say where some are missing.
---@return integer
function M.length(list)
  return math.ceil(table.maxn(list))
end

--- Is it a list of integers with none missing?
---@return integer|nil length, string? message
function M.list(name, list, low, high)
  if type(list) ~= "table" then return nil, M.wrong(name, list, "a list") end
  local n = M.length(list)
  for i = 1, n do
    local value = rawget(list, i)
    if not M.integer(value, low, high) then
      return nil, M.wrong_integer(("%s[%d]"):format(name, i), value, low, high)
    end
  end
  return n
end

--- Copy a list of int32 into target[at .. at+width-1], zeros after it. Nothing is written unless all of
--- the list is good. A pointer to target[at] would be a new object in each call.
---@return string|nil message
function M.copy(name, list, target, at, width)
  local n, message = M.list(name, list, M.INT32_MIN, M.INT32_MAX)
  if not n then return message end
  if n > width then return ("%s has %d elements, want at most %d"):format(name, n, width) end
  for i = 0, n - 1 do target[at + i] = rawget(list, i + 1) end
  for i = n, width - 1 do target[at + i] = 0 end
end

return M
