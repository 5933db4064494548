-- Detects clients that have left. nginx notifies a waiting handler, but not if the client left before the
-- handler began to wait. So the socket itself is polled, which is one system call.
local base = require "resty.core.base"
local ffi = require "ffi"

ffi.cdef [[
/* How nginx's ngx_connection_t and ngx_http_request_t begin. */
typedef struct { void *data, *read, *write; int fd; } serve_connection;
typedef struct { uint32_t signature; serve_connection *connection; } serve_request;
int getsockopt(int fd, int level, int name, void *value, uint32_t *size);
]]

local HTTP = 0x50545448 -- the signature of every request
local IPPROTO_TCP, TCP_INFO, ESTABLISHED = 6, 11, 1
local request_of = ffi.typeof "serve_request *"
local info, size = ffi.new "uint8_t[256]", ffi.new "uint32_t[1]"

local M = {}

--- Whether the current request's client has closed its end of the connection. A client that only closed its
--- sending half counts, as it does for nginx: the two look the same from here.
---@return boolean
function M.gone()
  local request = ffi.cast(request_of, base.get_request())
  if request == nil or request.signature ~= HTTP then return false end
  size[0] = ffi.sizeof(info)
  -- The first byte of struct tcp_info is the connection's state. No TCP, no answer.
  if ffi.C.getsockopt(request.connection.fd, IPPROTO_TCP, TCP_INFO, info, size) ~= 0 then return false end
  return info[0] ~= ESTABLISHED
end

return M
