-- Two clocks: of the day, in nginx's milliseconds, and one that is fine enough for a step's parts.
local ffi = require "ffi"

ffi.cdef [[
struct serve_time { long seconds, nanoseconds; };
int clock_gettime(int clock, struct serve_time *time);
]]

local MONOTONIC = 1
local time = ffi.new "struct serve_time"

local M = {}

--- nginx keeps the time of its last round; a step takes longer than that.
---@return number seconds
function M.now()
  ngx.update_time()
  return ngx.now()
end

---@return number seconds since some moment
function M.stopwatch()
  ffi.C.clock_gettime(MONOTONIC, time)
  return tonumber(time.seconds) + tonumber(time.nanoseconds) * 1e-9
end

return M
