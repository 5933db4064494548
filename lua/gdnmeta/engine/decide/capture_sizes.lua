-- The sizes that CUDA graphs are captured at, and what a step is padded to.
local array_of = require "gdnmeta.array_of"

local int32s = array_of "int32_t"

local M = {}

local LARGEST = 512 -- tokens

--- The usual sizes: 1, 2, 4, then by 8 up to 256, then by 16. With speculation a step has a multiple
--- of 1 + num_spec tokens: each size is rounded up to one.
---@param max_num_seqs integer
---@param num_spec integer
---@param max_tokens integer
---@param largest integer|nil what replaces the usual limits
---@return integer[]
function M.usual(max_num_seqs, num_spec, max_tokens, largest)
  local multiple = 1 + num_spec
  local most = math.min(largest or math.min(2 * max_num_seqs * multiple, LARGEST), max_tokens)
  local sizes = {}
  local function add(size)
    size = math.ceil(size / multiple) * multiple
    if size <= most and size ~= sizes[#sizes] then sizes[#sizes + 1] = size end
  end
  add(1)
  add(2)
  add(4)
  for n = 1, 32 do add(8 * n) end
  for size = 272, most, 16 do add(size) end
  return sizes
end

--- padded[n] is the smallest size that holds n tokens, for n up to the largest size.
---@param sizes integer[] ascending
---@return ffi.cdata* padded int32_t[largest + 1]
---@return integer largest
function M.table(sizes)
  local largest = sizes[#sizes] or 0
  local padded, at = int32s(largest + 1), 1
  for n = 1, largest do
    if sizes[at] < n then at = at + 1 end
    padded[n] = sizes[at]
  end
  return padded, largest
end

return M
