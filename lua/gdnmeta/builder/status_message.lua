-- Why the last call of the core on a builder failed, as every method returns it.
local ffi = require "ffi"
local lib = require "gdnmeta.native"

---@param handle ffi.cdata* gdn_builder
---@param status integer
---@return nil, string message, integer code
return function(handle, status)
  return nil, ffi.string(lib.gdn_last_error(handle)), tonumber(status)
end
