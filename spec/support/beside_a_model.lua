-- Random calls, right and wrong ones, beside a model in Lua that does the same.
local assert = require "luassert"

local M = {}

local LARGEST = 2147483647

--- A number of first .. last, of one past either, or the largest.
---@param first integer
---@param last integer
---@return integer
function M.near(first, last)
  if math.random(40) == 1 then return LARGEST end
  return math.random(first - 1, last + 1)
end

--- The first n numbers of an array.
---@return table
function M.list_of(pointer, n)
  local list = {}
  for i = 1, n do list[i] = tonumber(pointer[i - 1]) end
  return list
end

--- A move returns the wanted status and the one seen, and where something is handed out, what is wanted and
--- what came. A state returns what is wanted of all that can be asked, and what it is. No status is rare.
---@param model table
---@param move function
---@param state function
function M.agree(model, move, state)
  local seed, counts = tonumber(os.getenv "GDN_SEED") or os.time() % 2 ^ 24, {}
  math.randomseed(seed)
  for at = 1, 3000 do
    local where = ("GDN_SEED=%d, move %d"):format(seed, at)
    local want, got, given, is = move(model)
    assert.are.equal(want, got, where)
    assert.are.same(given and { unpack(given) }, is, where)
    local wanted, found = state(model)
    assert.are.equal(table.concat(wanted, " "), table.concat(found, " "), where)
    counts[want] = (counts[want] or 0) + 1
  end
  for _, status in ipairs { 0, -1, -3 } do assert.is_true((counts[status] or 0) > 50, "status " .. status) end
end

return M
