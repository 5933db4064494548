-- Checks of values read from a file: the usual messages, but short, whatever the file contains.
local args = require "gdnmeta.native.args"
local foreign_text = require "gdnmeta.native.foreign_text"

local SHOWN = 60 -- bytes of a value

local M = {}

--- A message that quotes a file.
---@return string
function M.short(message)
  return foreign_text.clean(message, 4 * SHOWN)
end

---@return string
function M.show(value)
  if args.absent(value) then return value == nil and "nil" or "null" end
  if type(value) == "string" and #value > SHOWN then value = value:sub(1, SHOWN) .. "..." end
  return M.short(args.show(value))
end

---@return string message
function M.wrong(name, value, wanted)
  return ("%s = %s, want %s"):format(name, M.show(value), wanted)
end

--- A field that is none of `names`.
---@return string|nil message
function M.unknown(document, names)
  local known = {}
  for _, name in ipairs(names) do known[name] = true end
  for name in pairs(document) do
    if not known[name] then return "unknown field " .. M.show(name) end
  end
end
jit.off(M.unknown) -- the LuaJIT of Debian 12 has crashed in compiled loops over pairs; a file must not

--- A whole number beyond an int32, too.
---@return string|nil message
function M.count(name, value, low, high)
  if type(value) ~= "number" or value % 1 ~= 0 or not (value >= low and value <= high) then
    return M.wrong(name, value, ("an integer in %.0f .. %.0f"):format(low, high))
  end
end

--- A list of n integers.
---@return string|nil message
function M.integers(name, list, n, low, high)
  if type(list) ~= "table" then return M.wrong(name, list, ("a list of %d"):format(n)) end
  local length = args.length(list)
  if length ~= n then return ("%s has %d elements, want %d"):format(name, length, n) end
  for i = 1, n do
    if not args.integer(list[i], low, high) then
      return M.wrong(("%s[%d]"):format(name, i - 1), list[i], ("an integer in %d .. %d"):format(low, high))
    end
  end
end

return M
