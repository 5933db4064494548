-- int32 memory that a caller has, as an argument: an int32_t array, which carries its length, or
-- { pointer, elements }, which is how memory of other libraries and languages comes. Of a pointer its type,
-- its alignment and that it leads anywhere are looked at; that so many elements are there, the caller says.
local ffi = require "ffi"
local args = require "gdnmeta.native.args"

local INT32_MAX = args.INT32_MAX
local PAGE = 4096 -- bytes; nothing is mapped below
local BARE = "{ pointer, elements }, for a pointer has no length"

local M = {}

-- A pointer's bits as two numbers: one of 64 bits would be a new object in each call.
local bits = ffi.new "union { const void *pointer; struct { uint32_t low, high; }; }"

local function address_of(pointer)
  bits.pointer = pointer
  return bits.high * 2 ^ 32 + bits.low
end

-- Is a table { pointer, elements }, and not a list of integers, of rows or of one array a group?
local function is_pair(value)
  local first = rawget(value, 1)
  if type(first) ~= "cdata" then return false end
  return args.int32_array(first) == nil or type(rawget(value, 2)) == "number"
end

local function problem_of_pointer(name, pointer, n)
  local length = args.int32_array(pointer)
  if length then
    return n > length and ("%s has %d elements, want at most the array's %d"):format(name, n, length) or nil
  end
  if not args.int32_pointer(pointer) then
    return args.wrong(name .. "[1]", pointer, "an int32_t pointer")
  end
  local address = address_of(pointer)
  if address < PAGE and (n > 0 or pointer ~= nil) then
    return ("%s[1] leads to address %d, want memory"):format(name, address)
  elseif address % 4 ~= 0 then
    return ("%s[1] leads to address %.0f, want a multiple of 4"):format(name, address)
  end
end

--- Is it memory? Nothing of it is read.
---@param name string for messages
---@param value any
---@return ffi.cdata*|nil pointer nil, nil: it is none of this kind, maybe a list
---@return integer|string|nil elements, or a message where it is memory that cannot be taken
function M.int32(name, value)
  local n = args.int32_array(value)
  if n then return value, n end
  if args.int32_pointer(value) then return nil, args.wrong(name, value, BARE) end
  if type(value) ~= "table" or not is_pair(value) then return nil, nil end
  n = rawget(value, 2)
  if not args.integer(n, 0, INT32_MAX) then
    return nil, args.wrong_integer(name .. "[2]", n, 0, INT32_MAX)
  elseif args.length(value) ~= 2 then
    return nil, ("%s has %d elements, want { pointer, elements }"):format(name, args.length(value))
  end
  local pointer = rawget(value, 1)
  local message = problem_of_pointer(name, pointer, n)
  if message then return nil, message end
  return pointer, n
end

--- Does a table hold one value a group, where there is one group and a single value would do?
---@param value any
---@param nested fun(first: any, is_memory: boolean, n: integer): boolean is it, by its first and its length?
---@return boolean
function M.one_a_group(value, nested)
  if type(value) ~= "table" or is_pair(value) then return false end
  local first = rawget(value, 1)
  local is_memory = args.int32_array(first) ~= nil or type(first) == "table" and is_pair(first)
  return nested(first, is_memory, args.length(value))
end

--- Copy a list, or memory, of int32 into target[at .. at+width-1], zeros after it. Nothing is written unless
--- all of it is good.
---@return string|nil message
function M.copy(name, value, target, at, width)
  local pointer, n = M.int32(name, value)
  if not pointer then return n or args.copy(name, value, target, at, width) end
  if n > width then return ("%s has %d elements, want at most %d"):format(name, n, width) end
  for i = 0, n - 1 do target[at + i] = pointer[i] end
  for i = n, width - 1 do target[at + i] = 0 end
end

--- A list, or memory, of integers as the list of them.
---@return table|nil list, string? message
function M.list(name, value, low, high)
  local pointer, n = M.int32(name, value)
  if not pointer then
    if n then return nil, n end
    local length, message = args.list(name, value, low, high)
    if not length then return nil, message end
    return value
  end
  local out = {}
  for i = 1, n do out[i] = pointer[i - 1] end
  local length, message = args.list(name, out, low, high)
  if not length then return nil, message end
  return out
end

return M
