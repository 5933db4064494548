-- Slots of the Lua stack, before something that must not be cut off half way: an overflow in the middle of it
-- would leave a count hook on the VM, or an engine locked. The slots that a function needs at most are asked
-- for as it is entered, whether or not it writes into them; and a metamethod's frame lies above all of those.
local M = {}

local function ignore() end

-- Needs 200 slots, and 200 more above them for each further block.
local function take(block)
  if block == nil then
    ignore(nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil,
           nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil,
           nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil,
           nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil,
           nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil,
           nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil,
           nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil,
           nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil,
           nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil,
           nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil,
           nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil,
           nil, nil)
  end
  local above = block.above
  return above and above.slots -- no table has that field: take(above)
end

jit.off(take) -- a trace has its own idea of how much stack it needs

local function block(above) return setmetatable({ above = above }, { __index = take }) end

local ONE = block(false)
local THREE = block(block(ONE))

--- Raises "stack overflow" where 200 slots are not there.
function M.some() return take(ONE) end

--- The same of 600.
function M.more() return take(THREE) end

jit.off(M.some)
jit.off(M.more)

return M
