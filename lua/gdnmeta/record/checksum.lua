-- Checksums of a step's tensors: FNV-1a of 64 bits over dtype, shape and elements as numbers, so that the
-- same values give the same sum on any device. Two tensors that differ in one element differ in it.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local fields = require("gdnmeta.native.schema").fields
local array_of = require "gdnmeta.array_of"

local bxor, tohex = bit.bxor, bit.tohex
local int64_t, bytes_t = ffi.typeof "int64_t", array_of "uint8_t"
local START, PRIME = 0xcbf29ce484222325ULL, 0x100000001b3ULL

-- dtype -> its number in the sum, a pointer to read elements by (a bool as its byte), bytes an element
local KINDS = {
  int32 = { 0, ffi.typeof "const int32_t *", ffi.sizeof "int32_t" },
  int64 = { 1, ffi.typeof "const int64_t *", ffi.sizeof "int64_t" },
  bool = { 2, ffi.typeof "const uint8_t *", ffi.sizeof "uint8_t" },
  uint8 = { 3, ffi.typeof "const uint8_t *", ffi.sizeof "uint8_t" },
}

local function add(sum, number)
  return bxor(sum, ffi.cast(int64_t, number)) * PRIME
end

local function fold(sum, elements, n)
  for i = 0, n - 1 do sum = bxor(sum, ffi.cast(int64_t, elements[i])) * PRIME end
  return sum
end

-- What is read of a device comes here. It is held, for a pointer into it is what is summed over.
local copy, size = bytes_t(0), 0

-- Host memory of a view's elements; on a device that waits for the build.
local function readable(builder, view, bytes)
  if builder.device == "cpu" then return view.data end
  if bytes > size then copy, size = bytes_t(bytes), bytes end
  if lib.gdn_builder_read(builder.handle, copy, view.data, bytes) ~= 0 then
    error("gdnmeta.record: " .. ffi.string(lib.gdn_last_error(builder.handle)), 0)
  end
  return copy
end

local M = {}

--- 16 hexadecimal digits.
---@param builder table whose view it is
---@param view ffi.cdata* a tensor of its last build
---@return string
function M.tensor(builder, view)
  local kind, shape, n = KINDS[view.dtype], view.shape, #view
  local sum = add(add(START, kind[1]), #shape)
  for _, extent in ipairs(shape) do sum = add(sum, extent) end
  return tohex(fold(sum, ffi.cast(kind[2], readable(builder, view, n * kind[3])), n))
end

--- Sums of every tensor that the builder's last step has: a list, one per cache group, where each group has
--- its own, else of one.
---@param builder table
---@param meta table
---@return table sums by name
function M.step(builder, meta)
  local sums = {}
  for _, name in ipairs(fields.tensors) do
    if meta[name] then
      local list = {}
      for group = 0, fields.per_group[name] and builder.num_groups - 1 or 0 do
        list[group + 1] = M.tensor(builder, meta:group(group)[name])
      end
      sums[name] = list
    end
  end
  return sums
end

return M
