--- Checks of the outputs by the device that wrote them: builders made with check = true. These are methods of
-- the builder; gdnmeta.h lists what is checked and what nothing can see.
local lib = require "gdnmeta.native"
local args = require "gdnmeta.native.args"
local status_message = require "gdnmeta.builder.status_message"
local opened = require("gdnmeta.native.methods").builder

local M, old = {}, {} -- old: methods of the release before

--- Did a check that the device has finished find a violation? Waits for nothing, so a step's answer comes a
--- step late on a GPU. The answer stays.
---@return boolean|nil ok nil: it did
---@return string? problem the step, the tensor and the element, and what is wrong there
---@return integer? code
function M:peek_check_result()
  local handle = opened(self, "peek_check_result")
  local status = lib.gdn_check_result(handle, 0, nil)
  if status ~= 0 then return status_message(handle, status) end
  return true
end

--- The same, and the next call tells of what comes after this one.
---@return boolean|nil ok nil: it did
---@return string? problem
---@return integer? code
function M:take_check_result()
  local handle = opened(self, "take_check_result")
  local status = lib.gdn_check_result(handle, 1, nil)
  if status ~= 0 then return status_message(handle, status) end
  return true
end

-- Message and code, or nil.
function old:check_result(forget)
  local handle = opened(self, "check_result")
  local status = lib.gdn_check_result(handle, forget and 1 or 0, nil)
  if status ~= 0 then return select(2, status_message(handle, status)) end
end

--- Check the outputs of the last build once more, as they are once what is enqueued on the stream is done.
---@param stream ffi.cdata*|lightuserdata|nil CUDA stream
---@return boolean|nil ok that it is checked; what is found, take_check_result says
---@return string? message
---@return integer? code
function M:check(stream)
  local handle = opened(self, "check")
  if stream ~= nil and not args.pointer(stream) then
    error("gdnmeta.Builder:check: " .. args.wrong("stream", stream, "nil or a pointer"), 2)
  end
  local status = lib.gdn_check(handle, stream)
  if status ~= 0 then return status_message(handle, status) end
  return true
end

return { methods = M, old = old }
