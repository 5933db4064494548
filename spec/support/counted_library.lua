-- The core with functions that look into it: build/libgdncounted.so, or what $GDN_COUNTED names.
local ffi = require "ffi"

pcall(ffi.cdef, "int setenv(const char *name, const char *value, int overwrite);")

local M = { path = os.getenv "GDN_COUNTED" or "build/libgdncounted.so" }

--- gdnmeta loads it in place of its own library. Before gdnmeta is required.
function M.use() ffi.C.setenv("GDNMETA_LIB", M.path, 1) end

return M
