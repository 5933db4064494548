-- A sum that changes with every value it is given, in their order.
local ffi = require "ffi"

local M = {}
M.__index = M

local MODULUS = 2147483647

function M.new() return setmetatable({ value = 1 }, M) end

--- A whole number or a multiple of 1/16, or what is none: not a number, infinite.
function M:number(x)
  x = tonumber(x)
  if x ~= x then x = 0.5 elseif x == math.huge then x = 0.25 elseif x == -math.huge then x = 0.75 end
  self.value = (self.value * 1000003 + x * 16 % MODULUS) % MODULUS
end

function M:text(text)
  local value = self.value
  for k = 1, #text do value = (value * 1000003 + text:byte(k)) % MODULUS end
  self.value = value
end

--- The first n elements of an array.
function M:array(values, n)
  for k = 0, n - 1 do self:number(values[k]) end
end

--- The bytes of memory, four at a time.
function M:bytes(memory, n)
  local words, p, value = ffi.cast("const int32_t *", memory), ffi.cast("const uint8_t *", memory), self.value
  local whole = n - n % 4
  for k = 0, whole / 4 - 1 do value = (value * 1000003 + words[k]) % MODULUS end
  for k = whole, n - 1 do value = (value * 1000003 + p[k]) % MODULUS end
  self.value = value
end

return M
