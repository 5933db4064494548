-- All of a file.

---@param path string
---@return string|nil text, string? message names the path
return function(path)
  local file, why = io.open(path, "rb")
  if not file then return nil, why end
  local text
  text, why = file:read "*a"
  file:close()
  if not text then return nil, path .. ": " .. why end
  return text
end
