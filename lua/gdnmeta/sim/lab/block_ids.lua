-- Ids of a trace's blocks as an index takes them: integers. Names are numbered as they come.
local array_of = require "gdnmeta.array_of"

local max = math.max
local int64s = array_of "int64_t"

local Ids = {}
Ids.__index = Ids

local M = {}

--- Of all requests that have blocks.
---@param requests table
---@return table numbers distinct (blocks), and get()
function M.of(requests)
  local self = setmetatable({ of = {}, distinct = 0 }, Ids)
  local longest = 1
  for i = 1, #requests do
    local blocks = requests[i].blocks
    for k = 1, blocks and #blocks or 0 do
      if not self.of[blocks[k]] then
        self.distinct = self.distinct + 1
        self.of[blocks[k]] = self.distinct
      end
    end
    longest = max(longest, blocks and #blocks or 0)
  end
  self.array = int64s(longest)
  return self
end

--- Numbers of a request's blocks.
---@param blocks table
---@return ffi.cdata* array int64, the object's own: filled anew by the next call
---@return integer n
function Ids:get(blocks)
  for k = 1, #blocks do self.array[k - 1] = self.of[blocks[k]] end
  return self.array, #blocks
end

return M
