-- Channels for specs, made and freed.
local ffi = require "ffi"
local lib = require "gdnmeta.native"
require "spec.support.step_records"

local why = ffi.new "char[300]"

local M = {}

--- The engine's side of a new channel.
function M.make(step_bytes, result_bytes)
  local out = ffi.new "gdn_channel *[1]"
  assert(lib.gdn_channel_new(step_bytes, result_bytes, out, why, 300) == 0, ffi.string(why))
  return ffi.gc(out[0], lib.gdn_channel_free)
end

--- Frees it now, not when it is collected.
function M.free(channel) lib.gdn_channel_free(ffi.gc(channel, nil)) end

return M
