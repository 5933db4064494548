-- The library with what gdnmeta_worker.h declares, which only hosts of workers need.
local ffi = require "ffi"
local lib = require "gdnmeta.native"

-- A module reloader comes here twice in one VM, and LuaJIT refuses to declare a type again.
if not pcall(ffi.typeof, "gdn_hello") then require "gdnmeta.worker.cdef" end

local ours, theirs = tonumber(ffi.C.GDN_WORKER_VERSION), lib.gdn_worker_version()
if ours ~= theirs then
  error(("gdnmeta.worker: the library has worker version %d, these bindings want %d"):format(theirs, ours), 0)
end

return lib
