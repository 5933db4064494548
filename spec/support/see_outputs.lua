-- Everything that a build has put out, into a sum.
local compare = require "spec.support.compare"
local lib = require "gdnmeta.native"

local SIZES = { [0] = 4, 8, 1, 1 }

local function see_tensor(sum, tensor)
  sum:number(tensor.data == nil and 0 or tensor.dtype + 1)
  if tensor.data == nil then return end
  sum:number(tensor.shape[0])
  sum:number(tensor.shape[1])
  sum:number(tensor.ndim)
  sum:bytes(tensor.data, tensor.shape[0] * tensor.shape[1] * SIZES[tensor.dtype])
end

---@param sum table see sum_of.lua
---@param builder table that has built
---@param view ffi.cdata* a gdn_metadata, for groups
---@param groups integer
return function(sum, builder, view, groups)
  local meta = lib.gdn_builder_metadata(builder.handle)
  for _, name in ipairs(compare.SCALARS) do sum:number(meta[name]) end
  for _, name in ipairs(compare.TENSORS) do see_tensor(sum, meta[name]) end
  for group = 0, groups - 1 do
    lib.gdn_metadata_group(builder.handle, group, view)
    for _, name in ipairs(compare.STATE) do see_tensor(sum, view[name]) end
  end
end
