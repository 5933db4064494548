-- Answers that are errors, in the shape of the public API.
local json = require "examples.nginx.json"
local request_id = require "examples.nginx.request_id"

local MAX_BODY = tonumber(os.getenv "SERVE_MAX_BODY") or 64 -- KiB; serve puts it into the conf, too

-- By status: the error's type, its code, and what nginx's own errors say.
local KINDS = {
  [400] = { "invalid_request_error", "invalid_request", "the request cannot be read" },
  [404] = { "invalid_request_error", "not_found", "no such endpoint" },
  [405] = { "invalid_request_error", "method_not_allowed", "no such method" },
  [408] = { "invalid_request_error", "request_timeout", "the request did not come in time" },
  [411] = { "invalid_request_error", "length_required", "want a Content-Length" },
  [413] = { "invalid_request_error", "body_too_large", ("the body is larger than %d KiB"):format(MAX_BODY) },
  [414] = { "invalid_request_error", "uri_too_long", "the address is too long" },
  [415] = { "invalid_request_error", "unsupported_encoding", "the body is compressed" },
  [429] = { "overloaded_error", "overloaded", "too many requests" },
  [431] = { "invalid_request_error", "headers_too_large", "the headers are too large" },
  [500] = { "server_error", "server_error", "the server failed" },
  [501] = { "invalid_request_error", "not_implemented", "not implemented" },
  [502] = { "server_error", "unavailable", "no engine answers" },
  [503] = { "server_error", "unavailable", "no requests are taken" },
  [504] = { "server_error", "timeout", "no token in time" },
  [505] = { "invalid_request_error", "http_version", "want HTTP/1.0 or HTTP/1.1" },
}

local M = {}

--- The JSON of an error.
---@param status integer HTTP
---@param message string|nil
---@param param string|nil the field at fault
---@param code string|nil for programs
---@return string
function M.json(status, message, param, code)
  local kind = KINDS[status] or KINDS[status < 500 and 400 or 500]
  return json.encode {
    error = { message = message or kind[3], type = kind[1], param = param or json.null,
              code = code or kind[2] },
  }
end

--- Answer a request with an error; nothing may have been sent yet. Returns, for there may be more to do.
function M.answer(status, message, param, code)
  local body = M.json(status, message, param, code)
  request_id.send()
  ngx.status = status
  ngx.header["Content-Type"] = "application/json"
  ngx.header["Content-Length"] = #body
  if status == 429 then ngx.header["Retry-After"] = 1 end -- seconds
  ngx.print(body)
end

--- An error that nginx found before any handler did.
function M.of_nginx() M.answer(ngx.status >= 400 and ngx.status or 500) end

return M
