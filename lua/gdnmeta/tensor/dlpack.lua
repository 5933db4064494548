-- Tensors for other libraries, by DLPack: pointers that the collector deletes unless they are handed on.
local ffi = require "ffi"
local lib = require "gdnmeta.native"

local tensor_t = ffi.typeof "gdn_tensor"
local export_out_t = ffi.typeof "gdn_dlpack *[1]"

-- The deleter is C's, and the library is never unloaded: nothing needs to be kept alive for it.
local function delete(export) export.deleter(export) end

local M = {}

--- Export a tensor of a builder.
---@param handle ffi.cdata* gdn_builder
---@return ffi.cdata*|nil export gdn_dlpack *
---@return string? message
---@return integer? code
function M.export(handle, data, rows, columns, dtype, ndim)
  local tensor = tensor_t(data, { rows, columns }, dtype, ndim)
  local out = export_out_t()
  local status = lib.gdn_tensor_export(handle, tensor, out)
  if status ~= 0 then return nil, ffi.string(lib.gdn_last_error(handle)), tonumber(status) end
  return ffi.gc(out[0], delete)
end

return M
