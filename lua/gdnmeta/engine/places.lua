-- Places for new keys, in tables whose keys come and go. When a new key finds no place, LuaJIT lays the table
-- out anew, with the least power of two of places that holds all keys. Where nearly so many keys stay, 4096
-- say, few places are left or none, and it does so again at the next new key. Here a table is replaced before
-- that by a copy with half as many places again: so many keys may come until the next copy.
-- Such a table has no other keys than its owner's, and is replaced: read it from its owner each time.
local new_table = require "table.new"

local FEW = 64 -- keys of a table that is laid out in no time

local Places = {}
Places.__index = Places

local function with_spare(self, keys)
  local n = 0
  for _ in next, keys do n = n + 1 end
  local spare = math.max(FEW, math.ceil(n / 2))
  if n > FEW then
    local larger = new_table(0, n + spare)
    for key, value in next, keys do larger[key] = value end
    keys = larger
  end
  self.spare = spare
  return keys
end

jit.off(with_spare) -- not every LuaJIT 2.1 compiles `next`

--- The table for one more key: this one, or a copy of it.
---@param keys table without a metatable
---@return table keys
function Places:for_one_more(keys)
  if self.spare == 0 then keys = with_spare(self, keys) end
  self.spare = self.spare - 1
  return keys
end

local M = {}

--- Those of one table, which is empty.
function M.new() return setmetatable({ spare = 0 }, Places) end

return M
