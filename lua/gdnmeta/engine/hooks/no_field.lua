-- A hook asked for a field that is not there: what it is told.
local args = require "gdnmeta.native.args"
local options_of = require "gdnmeta.native.options"

---@param what string that it asked: r, ctx, node
---@param name any
---@param known table name -> anything, of all that it may ask for
---@param more table|nil others
---@return string message
return function(what, name, known, more)
  local all = {}
  for field in pairs(known) do all[field] = field end
  for field in pairs(more or {}) do all[field] = field end
  return ("%s has no field %s, want one of %s"):format(what, args.word(name), options_of.names(all))
end
