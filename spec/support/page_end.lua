-- Arrays whose last element is the last before memory that nobody may touch: one element more, read or
-- written, ends the process.
local ffi = require "ffi"

if not pcall(ffi.typeof, "page_end_declared") then
  ffi.cdef [[
typedef int page_end_declared;
void *page_end_mmap(void *, size_t, int, int, int, long) __asm__("mmap");
int page_end_mprotect(void *, size_t, int) __asm__("mprotect");
int page_end_munmap(void *, size_t) __asm__("munmap");
]]
end

local PAGE = 4096

local M = {}

--- So many bytes, zeroed.
---@return ffi.cdata* uint8_t *, and what keeps it alive
function M.bytes(n)
  local size = (math.ceil(n / PAGE) + 1) * PAGE
  local base = ffi.C.page_end_mmap(nil, size, 3, 0x22, -1, 0) -- read and write; private, of no file
  assert(ffi.cast("intptr_t", base) ~= -1)
  local last = ffi.cast("uint8_t *", base) + size - PAGE
  assert(ffi.C.page_end_mprotect(last, PAGE, 0) == 0)
  local held = ffi.gc(base, function(memory) ffi.C.page_end_munmap(memory, size) end)
  return last - n, held
end

--- Arrays that live as long as this object: array(type of an element, how many, values or memory to copy).
function M.new()
  local self = { held = {} }
  function self.array(element, n, values)
    local bytes = n * ffi.sizeof(element)
    local at, held = M.bytes(bytes)
    self.held[#self.held + 1] = held
    if type(values) == "table" then
      local typed = ffi.cast(ffi.typeof("$ *", ffi.typeof(element)), at)
      for k = 1, n do typed[k - 1] = values[k] end
    elseif values then
      ffi.copy(at, values, bytes)
    end
    return ffi.cast(ffi.typeof("$ *", ffi.typeof(element)), at)
  end
  return self
end

return M
