-- os.tmpname makes its file, which stays behind where a suffix makes another name of it or nobody writes it.

--- A path where nothing is.
---@param suffix string|nil
---@return string
return function(suffix)
  local path = os.tmpname()
  os.remove(path)
  return path .. (suffix or "")
end
