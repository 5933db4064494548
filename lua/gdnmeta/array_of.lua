--- FFI arrays whose length is known at run time only.
--
-- LuaJIT may put off an allocation whose value a compiled loop needs at its exit alone. An array of type
-- `T[?]` is then made there without its length (seen in 2.1.0-beta3: 16 bytes are too few by all elements),
-- and what is stored in it lands in memory of others. An array that something else refers to is never put
-- off, hence `last`. No other file says `[?]`; spec/core/array_of_spec.lua holds that.
local ffi = require "ffi"
local args = require "gdnmeta.native.args"

local last = setmetatable({}, { __mode = "v" })

--- A constructor of arrays, to be used in place of `ffi.typeof "T[?]"`:
-- `local int32s = gdn.array_of "int32_t"; local cells = int32s(rows * columns)`. Elements are 0, or what
-- follows the length: one value for all, or a list of the first ones.
---@param element string C type of an element
---@return fun(n: integer, init: any): ffi.cdata* new an array of `n` elements
return function(element)
  if type(element) ~= "string" then
    error("gdnmeta.array_of: " .. args.wrong("element", element, "a C type"), 2)
  end
  local array_t = ffi.typeof(element .. "[?]")
  return function(n, init)
    local array = array_t(n)
    last[1] = array
    if type(init) == "table" then -- LuaJIT leaves what a list does not fill as it was in memory
      if #init > n then error(("gdnmeta.array_of: a list of %d for %d elements"):format(#init, n), 2) end
      for i = 1, #init do array[i - 1] = init[i] end
    elseif init ~= nil then
      for i = 0, n - 1 do array[i] = init end
    end
    return array
  end
end
