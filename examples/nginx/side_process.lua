-- A process that ends with this one, beside the worker's: gdn_process_* of gdnmeta_worker.h.
local ffi = require "ffi"
local array_of = require "gdnmeta.array_of"
local lib = require "gdnmeta.worker.native"

ffi.cdef "int open(const char *path, int flags, ...); int close(int fd);"

local O_CLOEXEC, WHY = 0x80000, 512
local out_t, why_t, strings = ffi.typeof "gdn_process *[1]", ffi.typeof "char[512]", array_of "const char *"

local function free(process) lib.gdn_process_free(process) end

local SideProcess = {}
SideProcess.__index = SideProcess

--- Start it, if it does not run.
---@return boolean|nil ok
---@return string? problem
function SideProcess:start()
  if self:alive() then return true end
  local words, why, out = strings(#self.command + 1), why_t(), out_t()
  for n, word in ipairs(self.command) do words[n - 1] = word end
  local nothing = ffi.C.open("/dev/null", O_CLOEXEC) -- in the place of a channel
  local status = lib.gdn_process_new(words, nil, nothing, out, why, WHY)
  ffi.C.close(nothing)
  if status ~= 0 then return nil, ffi.string(why) end
  self.process = ffi.gc(out[0], free)
  return true
end

---@return string|nil how it ended; nil: it runs
function SideProcess:ended()
  local how = why_t()
  if self.process == nil then return "was not started" end
  if lib.gdn_process_ended(self.process, how, WHY) == 0 then return nil end
  return ffi.string(how)
end

function SideProcess:alive() return self.process ~= nil and self:ended() == nil end

function SideProcess:close()
  if self.process == nil then return end
  lib.gdn_process_free(ffi.gc(self.process, nil))
  self.process = nil
end

local M = {}

---@param command string[]
function M.new(command) return setmetatable({ command = command, process = nil }, SideProcess) end

return M
