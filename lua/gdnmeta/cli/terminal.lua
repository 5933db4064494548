-- What is said while a command works: a bar on a terminal, a line a finished run in a pipe. All of it
-- goes to stderr, so that stdout is the answer alone.
local ffi = require "ffi"
local clock = require "gdnmeta.sim.clock"
local format = require "gdnmeta.sim.format"

if not pcall(function() return ffi.C.gdn_cli_isatty end) then
  ffi.cdef "int gdn_cli_isatty(int fd) __asm__(\"isatty\");"
end

local STDOUT, STDERR = 1, 2
local WIDTH = 28 -- characters of the bar

local M = {}

--- Is a person watching?
---@return boolean
function M.watched()
  return ffi.C.gdn_cli_isatty(STDERR) == 1
end

--- Is stdout a terminal that knows colours?
---@return boolean
function M.coloured()
  return ffi.C.gdn_cli_isatty(STDOUT) == 1 and (os.getenv "TERM" or "dumb") ~= "dumb"
    and (os.getenv "NO_COLOR" or "") == ""
end

local Progress = {}
Progress.__index = Progress

--- Progress of `total` things.
---@param quiet boolean say nothing at all
function M.progress(quiet)
  return setmetatable({ watched = not quiet and M.watched(), quiet = quiet, due = 0 }, Progress)
end

--- Redraw the bar, ten times a second at most.
---@param name string what is running
---@param done number
---@param total number
---@param unit string
function Progress:show(name, done, total, unit)
  if not self.watched then return end
  local now = clock()
  if now < self.due then return end
  self.due = now + 1e8
  local full = math.floor(WIDTH * done / math.max(total, 1))
  io.stderr:write(("\r\27[K%-14s [%s%s] %s of %s %s"):format(name, ("#"):rep(full), ("."):rep(WIDTH - full),
    format.count(done), format.count(total), unit))
  io.stderr:flush()
end

--- Something is finished: a line that stays.
---@param line string
function Progress:say(line)
  if self.quiet then return end
  io.stderr:write(self.watched and "\r\27[K" or "", line, "\n")
  self.due = 0
end

--- Take the bar away.
function Progress:clear()
  if self.watched then io.stderr:write "\r\27[K" end
end

return M
