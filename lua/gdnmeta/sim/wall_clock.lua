-- The wall clock, for what a run costs the host. Nothing that is simulated reads it.
local ffi = require "ffi"
local libc = require "gdnmeta.native.libc"

local MONOTONIC = 1
local time = ffi.new "int64_t[2]"

--- Nanoseconds since some moment.
---@return number
return function()
  libc.libc_clock_gettime(MONOTONIC, time)
  return tonumber(time[0]) * 1e9 + tonumber(time[1])
end
