-- LuaJIT and steps of changing shapes. A loop over requests is compiled once, but what follows it once for
-- every way out of it, up to the next loop: each step of another shape adds a long trace, until the memory
-- for machine code is full and all of it is thrown away. So the code of a step is cut into pieces.
local M = {}

--- No trace goes past a call of this, nor ends in it: it does nothing, and never compiles.
function M.cut() end
jit.off(M.cut)

--- Let LuaJIT keep more compiled code in this VM: 8,000 traces and 40 MB, what OpenResty's own LuaJIT begins
-- with, where others have 1,000 and 512 KB. For a program that is the host, not for a library.
function M.raise_limits()
  jit.opt.start("maxtrace=8000", "maxmcode=40960")
end

return M
