-- Where LuaJIT has the places of a table's keys: a table that was laid out anew has them elsewhere. Read from
-- its struct, the GCtab of LuaJIT's sources.
local ffi = require "ffi"

local M = {}

--- A number that is another whenever the table was laid out anew.
function M.layout(t)
  local at = ffi.cast("const char *", ffi.cast("uintptr_t", tonumber(("%p"):format(t))))
  if ffi.abi "gc64" then return tonumber(ffi.cast("const uintptr_t *", at + 40)[0]) end
  return ffi.cast("const uint32_t *", at + 20)[0]
end

--- How often it changes in so many calls of `change`. of: the table; another may take its place.
function M.count(calls, of, change)
  local n, before = 0, M.layout(of())
  for call = 1, calls do
    change(call)
    local now = M.layout(of())
    if now ~= before then n, before = n + 1, now end
  end
  return n
end

return M
