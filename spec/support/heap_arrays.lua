-- In place of gdnmeta.array_of where valgrind watches: arrays from the heap of the C library, so that it sees
-- an index past their ends. In the heap of LuaJIT such an index lands in memory of others, and what breaks is
-- chance.
local ffi = require "ffi"
local array_of = require "gdnmeta.array_of"

ffi.cdef "void *malloc(size_t); void free(void *);"

---@param element string C type of an element
---@return fun(n: integer, init: any): ffi.cdata* new as array_of.lua says, but ffi.sizeof does not know it
return function(element)
  local pointer_t, size, like = ffi.typeof(element .. "*"), ffi.sizeof(element), array_of(element)
  return function(n, init)
    local array = ffi.gc(ffi.cast(pointer_t, ffi.C.malloc(n * size)), ffi.C.free)
    ffi.copy(array, like(n, init), n * size)
    return array
  end
end
