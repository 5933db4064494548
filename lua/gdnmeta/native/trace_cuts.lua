-- LuaJIT and steps of changing shapes. A loop over requests is compiled once, but what follows it once for
-- every way out of it, up to the next loop: each step of another shape adds a long trace, until the memory
-- for machine code is full and all of it is thrown away. So the code of a step is cut into pieces. In steps
-- like the one before, which most are, the pieces are compiled and joined; in others what lies between the
-- loops is interpreted, but for what M.piece() made of functions.
local M = {}

--- No trace goes past a call of this, nor ends in it: it does nothing, and never compiles.
function M.cut() end
jit.off(M.cut)

-- A trace can end at a loop that is compiled already. One of 16 turns is found in the fourth step, and none
-- unrolls it before. It costs what the turns cost, some 50 instructions.
local JOINT = [[
local cut = ...
return function(changes)
  if changes > 0 then return cut() end
  for _ = 1, 16 do end
end]]

--- The joint of two pieces, after a loop over requests. All traces that come to it in a step like the one
--- before end there, and what follows is compiled once for all of them. In other steps it is cut(). Traces
--- belong to the code, not to the closure, so each place has code of its own.
---@return function of what the step changes, 0: nothing
function M.joint()
  return loadstring(JOINT, debug.getinfo(1, "S").source)(M.cut)
end

-- What is done for one request reads many columns, 25 ns each where it is interpreted. LuaJIT ends a trace
-- well where it returns to a function with `...`, which never begins a trace itself.
local PIECE = [[
local cut, f = ...
return function(...)
  cut()
  local x, y, z = f(...)
  return x, y, z
end]]

--- A function as a piece of its own, where cut() alone would leave it interpreted: traces of its ways end as
--- it returns, and none of its caller goes into it.
---@param f function of at most three results
---@return function
function M.piece(f)
  return loadstring(PIECE, debug.getinfo(1, "S").source)(M.cut, f)
end

--- A function for steps with a state cache and without one. With it a request has many ways, so that the
--- function is a piece there; without it few, so that the function stays as it is.
---@param f function as piece() takes it
---@return fun(prefix: table|false): function
function M.with_cache(f)
  local as_piece = M.piece(f)
  return function(prefix) return prefix and as_piece or f end
end

--- Let LuaJIT keep more compiled code in this VM: 8,000 traces and 40 MB, what OpenResty's own LuaJIT begins
-- with, where others have 1,000 and 512 KB. For a program that is the host, not for a library.
function M.raise_limits()
  jit.opt.start("maxtrace=8000", "maxmcode=40960")
end

return M
