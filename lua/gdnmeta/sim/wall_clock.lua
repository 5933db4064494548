-- The wall clock, for what a run costs the host. Nothing that is simulated reads it.
local ffi = require "ffi"

if not pcall(function() return ffi.C.gdn_sim_clock end) then
  ffi.cdef "int gdn_sim_clock(int clock, int64_t *time) __asm__(\"clock_gettime\");"
end

local MONOTONIC = 1
local time = ffi.new "int64_t[2]"

--- Nanoseconds since some moment.
---@return number
return function()
  ffi.C.gdn_sim_clock(MONOTONIC, time)
  return tonumber(time[0]) * 1e9 + tonumber(time[1])
end
