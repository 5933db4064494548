-- What the queues have in common that go by a policy's key: by_key.lua, by_group.lua.
local lib = require "gdnmeta.native"

local M = {}

--- Room for every request that there can be, of groups each in one of its own: nothing finds no memory
--- later on.
---@return integer status
function M:reserve()
  local n = self.requests.capacity
  local status = lib.gdn_heap_reserve(self.heap, n)
  return status ~= 0 and status or self.parked:reserve(n)
end

--- Take in the waiting requests.
function M:fill(hooks)
  self.hooks = hooks
  local requests, i = self.requests, self.fifo.head
  while i >= 0 do
    self:push(i, false)
    i = requests.next[i]
  end
end

return M
