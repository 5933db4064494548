-- The host record of a step's conv1d launch, as the kernels' authors know it: nums_dict. Built on
-- demand; the two tables that the device reads are in the metadata already.
local tensor = require "gdnmeta.tensor"
local array_of = require "gdnmeta.array_of"

local int32s_t = array_of "int32_t"
local int64s_t = array_of "int64_t"
local INT32, INT64 = 0, 1
local TILE = 8 -- tokens

local M = {}

--- nums_dict of a step with prefills: [8] = nums [n] tiles of each non-spec row, mlist [tot] row of
--- each tile, offsetlist [tot] tile of the row. In a bucket tot is what a launch covers: -1 after the tiles.
---@param meta table a metadata object whose step has prefills
---@return table
function M.record(meta)
  local core, boundaries = meta.core, meta.non_spec_query_start_loc
  local n, total = #boundaries - 1, 0
  local nums = int32s_t(n)
  for row = 0, n - 1 do
    nums[row] = math.ceil((boundaries[row + 1] - boundaries[row]) / TILE)
    total = total + nums[row]
  end
  if meta.token_class then total = meta.num_tiles end
  local rows, offsets, tile = int64s_t(total), int32s_t(total), 0
  for row = 0, n - 1 do
    for offset = 0, nums[row] - 1 do
      rows[tile], offsets[tile] = row, offset
      tile = tile + 1
    end
  end
  for i = tile, total - 1 do rows[i], offsets[i] = -1, -1 end
  return {
    [TILE] = {
      nums = tensor.vector(core, nums, INT32, n),
      tot = total,
      mlist = tensor.vector(core, rows, INT64, total),
      mlist_len = total,
      offsetlist = tensor.vector(core, offsets, INT32, total),
      batch_ptr = meta.batch_ptr,
      token_chunk_offset_ptr = meta.token_chunk_offset_ptr,
    },
  }
end

return M
