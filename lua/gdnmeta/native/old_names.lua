-- Names of the release before. Each still works until the next one, and the first use of it in a process
-- gives a warning: a line on stderr, or what the host's gdn.on_deprecated makes of it.
local M = { seen = {}, handler = false }

local function to_stderr(message) io.stderr:write(message, "\n") end

--- Warn, the first time.
---@param old string as a program has it
---@param new string what to write instead
function M.once(old, new)
  if M.seen[old] then return end
  M.seen[old] = true
  local warn = M.handler or to_stderr
  warn(("gdnmeta: %s is old, write %s; the next release refuses it"):format(old, new), old, new)
end

return M
