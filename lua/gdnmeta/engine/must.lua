-- Calls of the core that cannot be refused, as the engine has proven before.
local ffi = require "ffi"
local lib = require "gdnmeta.native"

--- A check of what such a call returned: a status that is not GDN_OK is a fault of the engine, and raises.
---@param what string whose call it is, for the message
---@return fun(status: integer) must
return function(what)
  return function(status)
    if status ~= 0 then
      error(("gdnmeta.engine: internal: %s %s"):format(what, ffi.string(lib.gdn_strstatus(status))), 0)
    end
  end
end
