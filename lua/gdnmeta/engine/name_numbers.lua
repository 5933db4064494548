-- Names of users and classes as small numbers, which are given back with their last request.
-- holders: requests of the name; waiting: those of them that wait, counted for users only.
local places = require "gdnmeta.engine.places"

local Names = {}
Names.__index = Names

--- The number of a name, with one more holder.
---@param name number|string
---@return integer
function Names:hold(name)
  local number = self.number[name]
  if not number then
    number = self.free[#self.free] or self.size
    self.name[number], self.holders[number], self.waiting[number] = name, 0, 0
    self.number = self.places:for_one_more(self.number)
    self.number[name] = number -- the last that may find no memory: before it, nothing was taken
    if number == self.size then self.size = number + 1 else self.free[#self.free] = nil end
  end
  self.holders[number] = self.holders[number] + 1
  return number
end

---@param number integer
function Names:drop(number)
  local holders = self.holders[number] - 1
  self.holders[number] = holders
  if holders == 0 then
    self.number[self.name[number]], self.name[number] = nil, nil
    self.free[#self.free + 1] = number
  end
end

local M = {}

function M.new()
  return setmetatable({ number = {}, places = places.new(), name = {}, holders = {}, waiting = {}, free = {},
                        size = 0 }, Names)
end

return M
