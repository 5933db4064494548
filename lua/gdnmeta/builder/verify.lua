--- Checks of the outputs by the device that wrote them: builders made with check = true. These are methods of
-- the builder; gdnmeta.h lists what is checked and what nothing can see.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local check = require "gdnmeta.native.args"
local opened = require("gdnmeta.native.methods").builder

local M = {}

--- Did a check that the device has finished find a violation? Waits for nothing, so a step's answer comes a
--- step late on a GPU. The answer stays until it is forgotten.
---@param forget boolean|nil
---@return string|nil message nil: no; else the step, the tensor and the element, and what is wrong there
---@return integer? code
function M:check_result(forget)
  local handle = opened(self, "check_result")
  local status = lib.gdn_check_result(handle, forget and 1 or 0, nil)
  if status ~= 0 then return ffi.string(lib.gdn_last_error(handle)), tonumber(status) end
end

--- Check the outputs of the last build once more, as they are once what is enqueued on the stream is done.
---@param stream ffi.cdata*|lightuserdata|nil CUDA stream
---@return boolean|nil ok that it is checked; what is found, check_result says
---@return string? message
---@return integer? code
function M:check(stream)
  local handle = opened(self, "check")
  if stream ~= nil and not check.pointer(stream) then
    error("gdnmeta.Builder:check: " .. check.wrong("stream", stream, "nil or a pointer"), 2)
  end
  local status = lib.gdn_check(handle, stream)
  if status ~= 0 then return self:failed(status) end
  return true
end

return M
