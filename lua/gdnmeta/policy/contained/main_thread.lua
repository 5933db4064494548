-- Does a method of an engine run in the main thread? A yield is an error there anyway: trusted hooks and the
-- stopwatch, which the method may call, then need no boundary (no_yield.lua). A method asks once, and only if
-- it calls one of them.
local running = coroutine.running

local M = {}

local function ask(e)
  local thread, is_main = running()
  e.is_bare, e.is_bare_known = thread == nil or is_main == true, true
end
jit.off(ask) -- coroutine.running does not compile

--- A method begins.
---@param e table private of an engine
function M.forget(e) e.is_bare_known = false end

---@param e table private of an engine, a method of which is under way
---@return boolean
function M.is_bare(e)
  if not e.is_bare_known then ask(e) end
  return e.is_bare
end

return M
