-- A pseudo-terminal, which script of util-linux makes. Containers may have none to give.
local M = {}

--- Can there be one?
---@return string|nil why not
function M.missing()
  if os.execute "script -qec true /dev/null >/dev/null 2>&1 </dev/null" == 0 then return nil end
  return "no pseudo-terminal: script -qec true /dev/null fails"
end

return M
