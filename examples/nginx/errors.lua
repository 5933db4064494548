-- Answers that are errors, in OpenAI's shape.
local cjson = require "cjson"

local TYPES = {
  [429] = "overloaded_error", [500] = "server_error", [503] = "server_error", [504] = "server_error",
}

local M = {}

--- The JSON of an error.
---@param status integer HTTP
---@param message string
---@param param string|nil the field at fault
---@return string
function M.json(status, message, param)
  local kind = TYPES[status] or "invalid_request_error"
  return cjson.encode {
    error = { message = message, type = kind, param = param or cjson.null, code = status },
  }
end

--- Answer a request with an error; nothing may have been sent yet. Returns, for there may be more to do.
function M.answer(status, message, param)
  local body = M.json(status, message, param)
  ngx.status = status
  ngx.header["Content-Type"] = "application/json"
  ngx.header["Content-Length"] = #body
  if status == 429 then ngx.header["Retry-After"] = 1 end -- seconds
  ngx.print(body)
end

return M
