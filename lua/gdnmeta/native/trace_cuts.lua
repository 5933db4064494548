-- LuaJIT and steps of changing shapes. A loop over requests is compiled once, but what follows it once for
-- every way out of it, up to the next loop: each step of another shape would add a long trace, until the
-- memory for machine code is full and all of it is thrown away. So the code of a step is cut into pieces: a
-- trace ends well at a loop that is compiled already, and what follows that loop is compiled once for all
-- traces that end there. Between two pieces is such a loop, which does nothing else.
local M = {}

-- One of 16 turns is found in the fourth call, and none unrolls it before. It costs what the turns cost, some
-- 50 instructions. Traces belong to the code, not to the closure, so each place has code of its own.
local JOINT = "return function() for _ = 1, 16 do end end"

local LAST_JOINT = [[
local stop = ...
return function()
  for _ = 1, 16 do end
  stop()
end]]

local PIECE = [[
local f = ...
return function(%s)
  for _ = 1, 16 do end
  local x, y, z = f(%s)
  for _ = 1, 16 do end
  return x, y, z
end]]

local THIS_FILE = debug.getinfo(1, "S").source -- where tools look for the source of a line

local function code(text) return loadstring(text, THIS_FILE) end

--- The joint of two pieces: for after a loop over requests, and where many ways meet.
---@return function without arguments
function M.joint() return code(JOINT)() end

local function stop() end
jit.off(stop)

--- The same where LuaJIT cannot go on: at the end of what xpcall() calls. It does not try.
---@return function without arguments
function M.last_joint() return code(LAST_JOINT)(stop) end

--- A function as a piece of its own: for what is done for one request, which has many ways.
---@param f function of at most three results, and of arguments that are all named
---@return function
function M.piece(f)
  local names = {}
  for k = 1, debug.getinfo(f, "u").nparams do names[#names + 1] = "a" .. k end
  local list = table.concat(names, ", ")
  return code(PIECE:format(list, list))(f)
end

--- Let LuaJIT keep more compiled code in this VM: 8,000 traces and 40 MB, what OpenResty's own LuaJIT begins
-- with, where others have 1,000 and 512 KB. For a program that is the host, not for a library.
function M.raise_limits()
  jit.opt.start("maxtrace=8000", "maxmcode=40960")
end

return M
