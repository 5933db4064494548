-- Ranges of a builder's options, for modules with an option of the same meaning. Loads no library.
local schema = require "gdnmeta.native.schema"

local M = {}

--- The range of an option that is a number, as a caller gives it: where 0 says "none", that is nil in Lua.
---@param name string
---@return integer low
---@return integer high
function M.of(name)
  for _, option in ipairs(schema.options) do
    if option.name == name then return option.kind == "OR_NONE" and 1 or option.low, option.high end
  end
  error("no option " .. name)
end

return M
