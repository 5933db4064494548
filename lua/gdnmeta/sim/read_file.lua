-- All of a file.
local words = require "gdnmeta.native.shown"

---@param path string
---@return string|nil text, string? message names the path
return function(path)
  local file, why = io.open(path, "rb")
  if not file then return nil, words.message(why) end
  local text
  text, why = file:read "*a"
  file:close()
  if not text then return nil, words.clean(path, 200) .. ": " .. why end
  return text
end
