-- The name of a request, which its answer carries in the header X-Request-Id.
local LONGEST = 64 -- bytes

local M = {}

--- Name the current request. A client's own id is sent back where it is one; anything else might be meant for
--- those who read logs.
function M.send()
  local given = ngx.var.http_x_request_id
  local ok = given and #given <= LONGEST and given:find "^[%w._-]+$"
  ngx.header["X-Request-Id"] = ok and given or ngx.var.request_id
end

return M
