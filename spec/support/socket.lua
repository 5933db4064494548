-- A TCP client of loopback, for requests that curl does not send and for leaving in every way.
local ffi = require "ffi"

ffi.cdef [[
struct spec_address { uint16_t family, port; uint32_t host; uint8_t zero[8]; };
struct spec_poll { int fd; short events, happened; };
struct spec_linger { int on, seconds; };
int socket(int family, int kind, int protocol);
int connect(int fd, const struct spec_address *address, uint32_t size);
ssize_t send(int fd, const void *bytes, size_t size, int flags);
ssize_t recv(int fd, void *bytes, size_t size, int flags);
int shutdown(int fd, int how);
int setsockopt(int fd, int level, int name, const void *value, uint32_t size);
int poll(struct spec_poll *fds, unsigned long count, int milliseconds);
int close(int fd);
]]

local C = ffi.C
local AF_INET, SOCK_STREAM, SHUT_WR, MSG_NOSIGNAL, POLLIN = 2, 1, 1, 0x4000, 1
local SOL_SOCKET, SO_LINGER, SO_RCVBUF = 1, 13, 8
local buffer = ffi.new "char[65536]"

local Socket = {}
Socket.__index = Socket

function Socket:send(text)
  local at = 0
  while at < #text do
    local n = tonumber(C.send(self.fd, ffi.cast("const char *", text) + at, #text - at, MSG_NOSIGNAL))
    if n <= 0 then return false end
    at = at + n
  end
  return true
end

--- What comes until pattern is found in it, the other side closes, or `seconds` are over. Text is kept in
--- self.text.
---@return boolean found
---@return boolean closed by the other side
function Socket:read(pattern, seconds)
  local turns = math.ceil((seconds or 30) / 0.05)
  local one = ffi.new("struct spec_poll[1]", { { fd = self.fd, events = POLLIN } })
  while true do
    if pattern and self.text:find(pattern) then return true, false end
    if turns == 0 then return false, false end
    if C.poll(one, 1, 50) > 0 then
      local n = tonumber(C.recv(self.fd, buffer, 65536, 0))
      if n <= 0 then return pattern and self.text:find(pattern) ~= nil or false, true end
      self.text = self.text .. ffi.string(buffer, n)
    else
      turns = turns - 1
    end
  end
end

--- Nothing more will be sent; what comes is still read.
function Socket:half_close() C.shutdown(self.fd, SHUT_WR) end

--- reset: with RST instead of FIN.
function Socket:close(reset)
  if self.fd < 0 then return end
  if reset then
    C.setsockopt(self.fd, SOL_SOCKET, SO_LINGER, ffi.new("struct spec_linger", { 1, 0 }), 8)
  end
  C.close(self.fd)
  self.fd = -1
end

local M = {}

--- receive: bytes of the receive buffer, for readers who are to be slow.
function M.connect(port, receive)
  local fd = C.socket(AF_INET, SOCK_STREAM, 0)
  assert(fd >= 0, "no socket")
  if receive then C.setsockopt(fd, SOL_SOCKET, SO_RCVBUF, ffi.new("int[1]", receive), 4) end
  local address = ffi.new "struct spec_address"
  address.family, address.port = AF_INET, bit.rshift(bit.bswap(port), 16)
  address.host = 0x0100007f -- 127.0.0.1 in network order on a little-endian machine
  assert(C.connect(fd, address, ffi.sizeof(address)) == 0, "cannot connect")
  return setmetatable({ fd = fd, text = "" }, Socket)
end

--- A request's text.
function M.request(method, path, headers, body)
  return ("%s %s HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %d\r\n\r\n%s"):format(method, path,
    headers or "", #(body or ""), body or "")
end

return M
