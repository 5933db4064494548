-- Mistakes in a hook's last call. After `return ctx.every(n)` nothing is left of the hook where the error is
-- raised, which then names our line that called the hook: the line where the hook begins stands there then.
local OURS = "^[^\n]-gdnmeta/engine/hooks/call_%a*_?hooks%.lua:%d+: "

local OF_HOOKS = { "^ctx%.", "^plan:", "^view" } -- what a hook is given and can call

local M = {}

--- The error that a hook raised, at a line of its own file.
---@param raised any
---@param hook function|nil
---@return any raised
function M.placed(raised, hook)
  if type(raised) ~= "string" then return raised end
  local _, last = raised:find(OURS)
  if not last then return raised end
  local said, is_of_hook = raised:sub(last + 1), false
  for _, words in ipairs(OF_HOOKS) do is_of_hook = is_of_hook or said:find(words) ~= nil end
  if not is_of_hook then return raised end
  if type(hook) ~= "function" then return said end
  local at = debug.getinfo(hook, "S")
  return ("%s:%d: %s"):format(at.short_src, at.linedefined, said)
end

return M
