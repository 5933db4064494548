-- What every endpoint does first.
local errors = require "examples.nginx.errors"
local request_id = require "examples.nginx.request_id"

-- An answer has no version that a client could know: nginx would compare all the same, and keep it back.
local CONDITIONS = { "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since" }

local M = {}

--- Whether the request's method is one of `methods` ("GET, HEAD"); others are answered here.
---@param methods string
---@return boolean
function M.accept(methods)
  request_id.send()
  for _, name in ipairs(CONDITIONS) do ngx.req.clear_header(name) end
  local method = ngx.req.get_method()
  for name in methods:gmatch "%u+" do
    if name == method then return true end
  end
  ngx.header["Allow"] = methods
  if method == "OPTIONS" then
    ngx.status = 204
  else
    errors.answer(405, "want " .. methods)
  end
  return false
end

return M
