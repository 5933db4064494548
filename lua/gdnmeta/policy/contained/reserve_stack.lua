-- Slots of the Lua stack, before something that must not be cut off half way: an overflow in the middle of it
-- would leave a count hook on the VM, or an engine locked. The slots that a function needs at most are asked
-- for as it is entered, whether or not it writes into them; and a metamethod's frame lies above all of those.
local M = {}

local function ignore() end

-- Needs 200 slots, for a call that it never comes to, and those of a metamethod of `above`.
local BLOCK = [[
local above, ignore = ...
return function()
  do return above.slots end
  ignore(]] .. ("nil, "):rep(199) .. [[nil)
end]]

-- Each has code of its own: bytecodes are what this costs every method of an engine.
local function block(above)
  local take = loadstring(BLOCK, debug.getinfo(1, "S").source)(above, ignore)
  jit.off(take) -- a trace has its own idea of how much stack it needs
  return take
end

local function taking(take) return setmetatable({}, { __index = take }) end

--- Raises "stack overflow" where 200 slots are not there.
M.some = block({})

--- The same of 600.
M.more = block(taking(block(taking(block({})))))

return M
