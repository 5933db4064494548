-- System calls of the core, as build/libgdncounted.so notes and refuses them: spec/support/counted_calls.c.
local ffi = require "ffi"
require "spec.support.step_records"

ffi.cdef [[
void gdn_counted_watch(const char *name, int nth, int error, int64_t clock, int64_t descriptors);
const char *gdn_counted_calls(void);
]]

local M = { lib = ffi.load(require("spec.support.counted_library").path) }

--- The calls that run() makes, each a line; then what it returns.
---@param how table|nil fail (name of a call), nth (1), error (errno) of the one that fails; clock (ns), limit
---@param run function
---@return string lines, any result
function M.of(how, run)
  how = how or {}
  M.lib.gdn_counted_watch(how.fail, how.nth or 1, how.error or 0, how.clock or 0, how.limit or 0)
  local ok, result = pcall(run)
  local text = ffi.string(M.lib.gdn_counted_calls())
  assert(ok, result)
  return text, result
end

return M
