-- What Ctrl-C and its like do. luajit's own handler raises "interrupted!" from a hook: compiled code does not
-- look at it, and the budget of a policy puts a hook of its own in that place. So a command that has nothing
-- to clear away ends at once, as the system has it.
local ffi = require "ffi"
local libc = require "gdnmeta.native.libc"

local SIGHUP, SIGINT, SIGTERM = 1, 2, 15
local DEFAULT = ffi.cast("void *", 0) -- SIG_DFL

local M = { SIGINT = SIGINT, DEFAULT = DEFAULT, IGNORE = ffi.cast("void *", 1) } -- SIG_IGN

--- Put a handler in place.
---@return ffi.cdata* before the one that was there
function M.set(number, handler) return libc.libc_signal(number, handler) end

local raising = DEFAULT -- luajit's handler, where luajit is the program

--- From now on Ctrl-C ends the program at once.
function M.plain() raising = M.set(SIGINT, DEFAULT) end

--- Call work(), then clear(finished), whatever signal came or error was raised in between; then the program
--- ends by that signal, or the error goes on.
---@param work function its calls that wait, such as reads, end when a signal comes
---@param clear function takes false where work was left early
---@return any what work returned
function M.guarded(work, clear)
  local before, came = {}, nil
  for _, n in ipairs { SIGHUP, SIGINT, SIGTERM } do
    before[n] = M.set(n, raising)
    if n == SIGHUP and before[n] == M.IGNORE then M.set(n, M.IGNORE) end -- under nohup
    libc.libc_siginterrupt(n, 1)
  end
  local ok, result
  pcall(function() -- where a read ended with an error of its own, the hook is called only after it
    ok, result = pcall(work)
  end)
  for n in pairs(before) do
    -- luajit's handler serves once, and leaves the system's in its place.
    if M.set(n, M.IGNORE) == DEFAULT and raising ~= DEFAULT then came = n end
  end
  clear(ok and not came)
  for n, handler in pairs(before) do M.set(n, handler) end
  if came then libc.libc_raise(came) end
  if not ok then error(result, 0) end
  return result
end

return M
