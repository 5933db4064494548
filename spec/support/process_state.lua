-- Processes as Linux shows them. One may go between the opening of its file and the reading, which then reads
-- nothing.

--- A letter of proc(5), "Z" of one that has ended and that nobody has reaped.
---@param pid integer
---@return string|nil state nil: there is none
return function(pid)
  local file = io.open(("/proc/%d/stat"):format(pid))
  if not file then return nil end
  local text = file:read "*a"
  file:close()
  return text and text:match "%) (%a)" or nil
end
