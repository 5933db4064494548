-- Progress while a command works: a bar on a terminal, one line per finished run in a pipe. All of it
-- goes to stderr, so that stdout is the answer alone.
local ffi = require "ffi"
local libc = require "gdnmeta.native.libc"
local wall_clock = require "gdnmeta.sim.wall_clock"
local numbers = require "gdnmeta.sim.numbers"
local foreign_text = require "gdnmeta.native.foreign_text"

local STDOUT, STDERR = 1, 2
local TIOCGWINSZ = 0x5413
local WIDTH = 28 -- most characters of the bar
local LEAST = 6 -- a shorter one shows nothing

local M = {}

--- Is a person watching?
---@return boolean
function M.watched()
  return libc.libc_isatty(STDERR) == 1
end

--- Is stdout a terminal that knows colours?
---@return boolean
function M.coloured()
  return libc.libc_isatty(STDOUT) == 1 and (os.getenv "TERM" or "dumb") ~= "dumb"
    and (os.getenv "NO_COLOR" or "") == ""
end

-- Columns of the terminal; 80 if it reports none.
local function columns()
  local size = ffi.new "libc_window"
  return libc.libc_ioctl(STDERR, TIOCGWINSZ, size) == 0 and size.columns > 0 and size.columns or 80
end

--- Progress as one line of fewer than `width` characters: a longer one would wrap, and stay. The bar shrinks
--- and goes first, then what is not the count.
---@param width integer columns of the terminal
---@param name string what is running
---@param done number
---@param total number
---@param unit string
---@return string
function M.bar(width, name, done, total, unit)
  local count = ("%s of %s"):format(numbers.count(done), numbers.count(total))
  local length = math.min(WIDTH, width - 1 - #("%-14s [] %s %s"):format(name, count, unit))
  if length >= LEAST then
    local full = math.floor(length * math.min(done / math.max(total, 1), 1))
    return ("%-14s [%s%s] %s %s"):format(name, ("#"):rep(full), ("."):rep(length - full), count, unit)
  end
  for _, line in ipairs { ("%s %s %s"):format(name, count, unit), ("%s %s"):format(count, unit), count } do
    if #line < width then return line end
  end
  return count:sub(1, math.max(width - 1, 0))
end

local Progress = {}
Progress.__index = Progress

--- Progress of `total` things.
---@param quiet boolean say nothing at all
function M.progress(quiet)
  return setmetatable({ watched = not quiet and M.watched(), quiet = quiet, due = 0 }, Progress)
end

--- Redraw the bar, at most ten times per second.
---@param name string what is running
---@param done number
---@param total number
---@param unit string
function Progress:show(name, done, total, unit)
  if not self.watched then return end
  local now = wall_clock()
  if now < self.due then return end
  self.due = now + 1e8
  io.stderr:write("\r\27[K", M.bar(columns(), foreign_text.clean(name), done, total, unit))
  io.stderr:flush()
end

--- Something is finished: a line that stays.
---@param line string
function Progress:say(line)
  if self.quiet then return end
  io.stderr:write(self.watched and "\r\27[K" or "", foreign_text.clean(line, 1000), "\n")
  self.due = 0
end

--- Take the bar away.
function Progress:clear()
  if self.watched then io.stderr:write "\r\27[K" end
end

return M
