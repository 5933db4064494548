-- All of a file.
local foreign_text = require "gdnmeta.native.foreign_text"

---@param path string
---@return string|nil text, string? message names the path
return function(path)
  local file, why = io.open(path, "rb")
  if not file then return nil, foreign_text.message(why) end
  local text
  text, why = file:read "*a"
  file:close()
  if not text then return nil, foreign_text.clean(path, 200) .. ": " .. why end
  return text
end
