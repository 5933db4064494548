-- A worker's process, and the channel to it. Death, silence and lies are found by poll, which never waits.
local ffi = require "ffi"
local lib = require "gdnmeta.worker.native"
local libc = require "gdnmeta.native.libc"
local results = require "gdnmeta.worker.results"
local array_of = require "gdnmeta.array_of"

local int64s, strings = array_of "int64_t", array_of "const char *"
local channel_out, process_out = ffi.typeof "gdn_channel *[1]", ffi.typeof "gdn_process *[1]"
local result_t, why_t = ffi.typeof "gdn_result_record", ffi.typeof "char[512]"
local ECAP, EVERSION, ECLOSED = tonumber(lib.GDN_ECAP), tonumber(lib.GDN_EVERSION), tonumber(lib.GDN_ECLOSED)
local FAILED = tonumber(lib.GDN_RESULT_FAILED)
local max = math.max
local DESCRIPTOR, WHY = tonumber(lib.GDN_PROCESS_DESCRIPTOR), ffi.sizeof(why_t)

-- Anchor `lib`: cdata finalizers may run after every other reference to the library is gone.
local function channel_free(channel) lib.gdn_channel_free(channel) end
local function process_free(process) lib.gdn_process_free(process) end

local Remote = {}
Remote.__index = Remote

-- It cannot go on; what it says from now on.
local function broken(self, message, code)
  self.message, self.code = message, code
  return nil, message, code
end

local function said(self) return ffi.string(self.why) end

-- A list of strings for C, and what keeps it alive.
local function c_strings(list)
  local array, held = strings(#list + 1), {}
  for n, text in ipairs(list) do
    held[n] = tostring(text)
    array[n - 1] = held[n]
  end
  return array, held
end

local function start(self)
  local environment = { ("GDNMETA_CHANNEL=%d"):format(DESCRIPTOR) }
  for name, value in pairs(self.options.environment or {}) do
    environment[#environment + 1] = ("%s=%s"):format(name, value)
  end
  local arguments, held = c_strings(self.options.command)
  local variables, held_too = c_strings(environment)
  local out = process_out()
  local descriptor = lib.gdn_channel_descriptor(self.channel)
  local status = lib.gdn_process_new(arguments, variables, descriptor, out, self.why, WHY)
  assert(held and held_too)
  if status ~= 0 then return nil, said(self), "dead" end
  self.process = ffi.gc(out[0], process_free)
  return true
end

--- A new process with a new channel, and the hello in it.
---@return boolean|nil ok, string? message, string? code
function Remote:start(now)
  local pack, out = self.pack, channel_out()
  if lib.gdn_channel_new(pack.size, pack.result_bytes, out, self.why, WHY) ~= 0 then
    return broken(self, said(self), "dead")
  end
  self.channel = ffi.gc(out[0], channel_free)
  self.is_ready, self.code, self.beats, self.progress = false, false, 0, now
  pack:forget()
  local bytes = pack:greeting()
  if bytes < 0 then return broken(self, pack:problem(), "dead") end
  local ok, message, code = start(self)
  if not ok then return broken(self, message, code) end
  lib.gdn_channel_send(self.channel, pack.memory, bytes)
  return true
end

--- Send a packed record.
---@return boolean|nil ok, string? message, string? code
function Remote:send(bytes, now)
  local status = lib.gdn_channel_send(self.channel, self.pack.memory, bytes)
  if status == 0 then
    if self.waiting == 0 then self.progress = now end
    self.waiting = self.waiting + 1
    return true
  end
  self.pack:forget()
  if status == ECAP then return nil, "the channel has no room for another step now", "busy" end
  if status == ECLOSED then return nil, "the worker has closed its channel", "dead" end
  return broken(self, "the worker's position in the channel is not possible", "corrupt")
end

-- Why nothing came: it ended, it hangs, or it works.
local function look(self, now, status)
  if self.process == nil or lib.gdn_process_ended(self.process, self.why, WHY) ~= 0 then
    local version = lib.gdn_channel_peer_version(self.channel)
    if version ~= 0 and version ~= lib.gdn_worker_version() then
      return broken(self, ("the worker is of version %d, want %d"):format(version, lib.gdn_worker_version()),
                    "version")
    end
    return broken(self, "the worker " .. said(self), "dead")
  end
  if status == ECLOSED then return broken(self, "the worker has closed its channel", "dead") end
  local beats = lib.gdn_channel_beats(self.channel)
  if beats ~= self.beats then self.beats, self.progress = beats, now end
  if self.is_ready and self.waiting == 0 then
    self.progress = now
    return nil
  end
  local limit = self.is_ready and self.options.deadline or self.options.start_deadline
  if now - self.progress > limit then
    return broken(self, ("the worker has made no progress for %.3g s, want less than %g s"):format(
      now - self.progress, limit), "hung")
  end
  return nil
end

-- Of an int64 without a number of that type, which would be garbage.
local function number_of(self) return self.halves[1] * 4294967296 + self.halves[0] % 4294967296 end

local function unexpected(self, step)
  local wanted = not self.is_ready and "an answer to the hello"
    or step and "one of step " .. step.number or "none"
  return broken(self, ("a result of step %d, want %s"):format(number_of(self), wanted), "corrupt")
end

-- The answer to the hello. What the worker says of itself is `text`.
local function greeted(self, result, step, now)
  if self.is_ready or number_of(self) ~= 0 then return unexpected(self, self.is_ready and step) end
  self.is_ready, self.progress, self.text = true, now, ffi.string(result.text)
end

--- The next result of `step`, the oldest that has none.
---@return boolean|nil ok it is in self.shown; nil: none yet
---@return string? message, string? code
function Remote:poll(step, now)
  if self.code then return nil, self.message, self.code end
  local bytes = lib.gdn_channel_receive(self.channel, self.memory, self.pack.result_bytes, 0)
  if bytes == 0 or bytes == ECLOSED then return look(self, now, bytes) end
  if bytes < 0 then return broken(self, "the worker's position in the channel is not possible", "corrupt") end
  local result = self.result
  local status = lib.gdn_result_unpack(self.memory, bytes, result, self.why, WHY)
  if status ~= 0 then
    local code = status == EVERSION and "version" or "corrupt"
    return broken(self, "a result of the worker: " .. said(self), code)
  end
  if result.status == FAILED then
    return broken(self, "the worker failed: " .. ffi.string(result.text), "dead")
  end
  local number = number_of(self)
  if not self.is_ready or number == 0 then
    greeted(self, result, step, now)
    return self:poll(step, now) -- which says, too, that this was none
  end
  if not step or number ~= max(step.number, 1) then return unexpected(self, step) end -- as pack.lua has it
  local problem = self.shown:take(step, result)
    or results.problem(step, self.shown, self.num_spec, self.pack.hello.vocab_size)
  if problem then return broken(self, problem, "corrupt") end
  self.waiting, self.progress = self.waiting - 1, now
  return true
end

--- Its end: at once, or as long as `seconds` for it to leave by itself.
function Remote:stop(number, seconds)
  local channel, process = self.channel, self.process
  if channel ~= nil then
    if not self.code then lib.gdn_channel_send(channel, self.pack.memory, self.pack:stop(number)) end
    lib.gdn_channel_close(channel)
  end
  for _ = 1, process ~= nil and math.ceil((seconds or 0) * 100) or 0 do
    if lib.gdn_process_ended(process, nil, 0) ~= 0 then break end
    libc.libc_poll(nil, 0, 10)
  end
  if process ~= nil then lib.gdn_process_free(ffi.gc(process, nil)) end
  if channel ~= nil then lib.gdn_channel_free(ffi.gc(channel, nil)) end
  self.channel, self.process, self.waiting = nil, nil, 0
  broken(self, "the worker is closed", "dead")
end

---@return integer|nil pid
function Remote:id()
  local id = self.process ~= nil and lib.gdn_process_id(self.process) or 0
  return id > 0 and id or nil
end

local M = {}

function M.new(pack, options, num_spec, shown)
  local result = result_t()
  return setmetatable({ pack = pack, options = options, num_spec = num_spec, shown = shown, result = result,
                        halves = ffi.cast("const int32_t *", result), memory = int64s(pack.result_bytes / 8),
                        why = why_t(), waiting = 0, text = "" }, Remote)
end

return M
