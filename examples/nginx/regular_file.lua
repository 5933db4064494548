-- Reads a file of unknown type without ever blocking a worker: anything but a regular file is not
-- opened, and an open never blocks.
local ffi = require "ffi"
local array_of = require "gdnmeta.array_of"

local chars = array_of "char"

ffi.cdef [[
int statx(int folder, const char *path, int flags, unsigned mask, void *result);
int open(const char *path, int flags, ...);
int close(int fd);
ssize_t read(int fd, void *bytes, size_t size);
]]

local AT_FDCWD, AT_EMPTY_PATH, STATX_BASIC = -100, 0x1000, 0x7ff
local O_NONBLOCK, O_NOCTTY, O_CLOEXEC = 0x800, 0x100, 0x80000
local MODE_AT, KIND, REGULAR = 14, 0xF000, 0x8000 -- struct statx is the same everywhere; MODE_AT in uint16_t
local KINDS = { [0x1000] = "a FIFO", [0x2000] = "a device", [0x4000] = "a directory", [0x6000] = "a device",
                [0xC000] = "a socket" }

local MOST = 2 ^ 20 -- bytes
local status, bytes = ffi.new "uint16_t[128]", chars(MOST + 1)

local M = {}

local function reason() return ffi.string(ffi.C.strerror(ffi.errno())) end
ffi.cdef "char *strerror(int number);"

-- Why it cannot be read.
local function problem_of(folder, path, flags)
  if ffi.C.statx(folder, path, flags, STATX_BASIC, status) ~= 0 then return reason() end
  local kind = bit.band(status[MODE_AT], KIND)
  if kind ~= REGULAR then return ("is %s, want a file"):format(KINDS[kind] or "no file") end
end

local function read_all(fd)
  local size = 0
  while size <= MOST do
    local n = tonumber(ffi.C.read(fd, bytes + size, MOST + 1 - size))
    if n < 0 then return nil, reason() end
    if n == 0 then return ffi.string(bytes, size) end
    size = size + n
  end
  return nil, ("is larger than %d bytes"):format(MOST)
end

--- The text of a regular file of at most 1 MiB.
---@param path string
---@return string|nil text
---@return string? problem
function M.read(path)
  local problem = problem_of(AT_FDCWD, path, 0)
  if problem then return nil, path .. ": " .. problem end
  local fd = ffi.C.open(path, O_NONBLOCK + O_NOCTTY + O_CLOEXEC)
  if fd < 0 then return nil, path .. ": " .. reason() end
  local text
  problem = problem_of(fd, "", AT_EMPTY_PATH) -- it may have been replaced since
  if not problem then text, problem = read_all(fd) end
  ffi.C.close(fd)
  return text, problem and path .. ": " .. problem
end

return M
