-- Calls that cannot be yielded out of. LuaJIT refuses a yield across a frame of C, and table.sort puts one
-- between itself and its comparator: with two elements it compares once, and neither allocates nor keeps
-- anything. A coroutine would do it too, but takes memory, and would swallow what nginx yields for itself.
local sort = table.sort

local PAIR = { "", "" }

local f, a, b, c, d, e, g -- the call under way; read before anything else can run
local x, y, z -- what it gave

local function compare()
  x, y, z = f(a, b, c, d, e, g)
end

--- call(...) in a place where a yield is an error like any other. What `call` raises is raised.
---@param call function
---@return any, any, any
local function bounded(call, ...)
  f = call
  a, b, c, d, e, g = ...
  sort(PAIR, compare)
  local first, second, third = x, y, z
  f, a, b, c, d, e, g, x, y, z = nil, nil, nil, nil, nil, nil, nil, nil, nil, nil
  return first, second, third
end

jit.off(compare)
jit.off(bounded)

return bounded
