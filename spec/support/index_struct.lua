-- The structs inside of an index of the state cache, as src/scheduler/index.h has them.
local ffi = require "ffi"

local file = assert(io.open "src/scheduler/index.h")
local text = file:read "*a"
file:close()
local constants = text:match "enum { PAGE_BLOCKS = %d+ };"
local structs = text:match "\ntypedef struct waiting {.-\nstruct gdn_index {.-\n};"
ffi.cdef("typedef struct gdn_error { char text[320]; } gdn_error;\n" .. constants .. structs)

---@param handle ffi.cdata* gdn_index
return function(handle) return ffi.cast("struct gdn_index *", handle) end
