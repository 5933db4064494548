-- All of a file.
local shown = require "gdnmeta.native.foreign_text"

---@param path string
---@return string|nil text, string? message names the path
return function(path)
  local file, why = io.open(path, "rb")
  if not file then return nil, shown.message(why) end
  local text
  text, why = file:read "*a"
  file:close()
  if not text then return nil, shown.clean(path, 200) .. ": " .. why end
  return text
end
