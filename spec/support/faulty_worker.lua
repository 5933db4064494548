-- A worker's process that misbehaves as $FAULT says, from its $AFTER-th step on; before, it is the tiny
-- model.
--   luajit spec/support/faulty_worker.lua
local ffi = require "ffi"
local lib = require "gdnmeta.worker.native"
local libc = require "gdnmeta.native.libc"
local model = require("examples.worker").model

local FAULT, AFTER = os.getenv "FAULT" or "", tonumber(os.getenv "AFTER" or 0)
local steps, pack, open = 0, lib.gdn_result_pack, lib.gdn_channel_open
local channel

-- Of the result, before it is packed.
local LIES = {
  other_step = function(r) r.number = r.number + 1 end,
  greets_again = function(r) r.number, r.num_rows, r.num_tokens = 0, 0, 0 end,
  too_few_rows = function(r) r.num_rows, r.num_tokens = 0, 0 end,
  says_nothing = function(r)
    for row = 0, r.num_rows - 1 do ffi.cast("int32_t *", r.emitted)[row] = 0 end
    r.num_tokens = 0
  end,
  says_too_much = function(r)
    local emitted = ffi.cast("int32_t *", r.emitted)
    r.num_tokens = r.num_tokens - emitted[0] + 4
    emitted[0] = 4
  end,
  says_all = function(r) -- as much as a record can have
    local most, n = ffi.new "int32_t[60]", ffi.cast("int32_t *", r.emitted)
    for row = 0, r.num_rows - 1 do n[row] = 20 end
    r.num_tokens, r.tokens = 20 * r.num_rows, most
  end,
  no_word = function(r) ffi.cast("int32_t *", r.tokens)[0] = 4000 end,
}
-- Of the record's bytes.
local DAMAGES = {
  checksum = function(bytes) bytes[130] = (bytes[130] + 1) % 256 end,
  version = function(bytes) bytes[4] = bytes[4] + 1 end,
  magic = function(bytes) bytes[0] = 0 end,
  cut = function(_, n) return n - 8 end,
}
local DEEDS = {
  raises = function() error "out of memory, says the model" end,
  exits = function() os.exit(3) end,
  closes = function()
    lib.gdn_channel_close(channel)
    libc.libc_poll(nil, 0, 60000)
  end,
  hangs = function() libc.libc_poll(nil, 0, 60000) end,
  is_slow = function() libc.libc_poll(nil, 0, 30) end,
  beats = function()
    for _ = 1, 8 do
      libc.libc_poll(nil, 0, 30)
      lib.gdn_channel_beat(channel)
    end
  end,
}

if FAULT == "never_opens" then libc.libc_poll(nil, 0, 60000) end
if FAULT == "exits_at_once" then os.exit(5) end

local faulty = setmetatable({}, { __index = lib })
function faulty.gdn_channel_open(descriptor, out, why, size)
  local status = open(descriptor, out, why, size)
  channel = out[0]
  return status
end
function faulty.gdn_result_pack(result, out, size, why, why_size)
  local is_faulty = result.number > 0 and steps > AFTER
  if is_faulty and LIES[FAULT] then LIES[FAULT](result) end
  local bytes = pack(result, out, size, why, why_size)
  if is_faulty and DAMAGES[FAULT] then bytes = DAMAGES[FAULT](ffi.cast("uint8_t *", out), bytes) or bytes end
  return bytes
end

-- serve.lua's library is this one.
package.loaded["gdnmeta.worker.native"], package.loaded["gdnmeta.worker.serve"] = faulty, nil
require "gdnmeta.worker.serve" (function(builder, seed)
  local m = model(builder, seed)
  local forward = m.forward
  function m:forward(metadata, tokens)
    steps = steps + 1
    if steps > AFTER and DEEDS[FAULT] then DEEDS[FAULT]() end
    return forward(self, metadata, tokens)
  end
  return m
end)
