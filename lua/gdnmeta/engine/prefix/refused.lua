-- What an index refuses.
local lib = require "gdnmeta.native"

-- A failure that a server can meet; anything else is a mistake of the caller.
local ECAP = tonumber(lib.GDN_ECAP)

--- Called by a method of an index, whose caller the error names.
---@param index table
---@param status integer of a gdn_index call that failed
---@return nil, string message, integer code GDN_ECAP alone
return function(index, status)
  local message = index:message()
  if status == ECAP then return nil, message, status end
  error("gdnmeta: index: " .. message, 3)
end
