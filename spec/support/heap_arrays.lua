-- In place of gdnmeta.array_of where valgrind watches: arrays from the heap of the C library, so that it sees
-- an index past their ends. In the heap of LuaJIT such an index lands in memory of others, and what breaks is
-- chance.
local ffi = require "ffi"

ffi.cdef "void *calloc(size_t, size_t); void free(void *);"

---@param element string C type of an element
---@return fun(n: integer, init: any): ffi.cdata* new as array_of.lua says, but ffi.sizeof does not know it
return function(element)
  local pointer_t, size = ffi.typeof(element .. "*"), ffi.sizeof(element)
  return function(n, init)
    local array = ffi.gc(ffi.cast(pointer_t, ffi.C.calloc(n, size)), ffi.C.free)
    if type(init) == "table" then
      assert(#init <= n, "a longer list than the array")
      for i = 1, #init do array[i - 1] = init[i] end
    elseif init ~= nil then
      for i = 0, n - 1 do array[i] = init end
    end
    return array
  end
end
