-- Arrays that a host writes, between margins: a stray index lands in one of those, not in the memory of the
-- VM, and is noticed when the step completes. Not found is what a host writes further away.
local ffi = require "ffi"
local libc = require "gdnmeta.native.libc"
local array_of = require "gdnmeta.array_of"

local WIDE = 16 -- elements of a margin
local MARK = 0x5a6d6e6d

local int32s = array_of "int32_t"
local pointer_t = ffi.typeof "int32_t *"


local marks = int32s(WIDE)
for i = 0, WIDE - 1 do marks[i] = MARK end

local Margins = {}
Margins.__index = Margins

--- The array whose margin something wrote to; the margin is restored. nil: none.
---@return string|nil name of the array
function Margins:damaged()
  local memory, found = self.memory, nil
  for k = 0, #self.names do
    local margin = memory + k * (self.length + WIDE)
    if libc.libc_memcmp(margin, marks, 4 * WIDE) ~= 0 then
      ffi.copy(margin, marks, 4 * WIDE)
      found = found or self.names[k + 1] or self.names[k]
    end
  end
  return found
end

local M = {}

--- An array of `length` elements for each name, as fields of `target`.
---@param target table which has to keep what this returns
---@param names string[]
---@param length integer
---@return table margins
function M.new(target, names, length)
  local whole = int32s(#names * (length + WIDE) + WIDE)
  local memory = ffi.cast(pointer_t, whole)
  for k = 0, #names do
    ffi.copy(memory + k * (length + WIDE), marks, 4 * WIDE)
    if k > 0 then target[names[k]] = memory + (k - 1) * (length + WIDE) + WIDE end
  end
  return setmetatable({ whole = whole, memory = memory, names = names, length = length }, Margins)
end

return M
