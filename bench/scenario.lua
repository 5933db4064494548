-- What the scenarios of bench/policies/ share. A scenario is a file that returns a table:
--   about    what it shows, a line
--   light    true: it takes less than two seconds or so, and the specs run it
--   traces   names of files that it reads from TRACES, or nil
--   run      function(s), which calls s:report(figure, value, "<=" or ">=", bound) for each figure
local terminal = require "gdnmeta.cli.terminal"

local M = { SKIPPED = 77 }

local TRACES = os.getenv "TRACES" or "../shared/traces"

local Scenario = {}
Scenario.__index = Scenario

local function is_there(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

--- Where a trace lies.
---@param name string
---@return string path
function M.trace(name) return TRACES .. "/" .. name end

-- Up to four significant digits: 0.123, 12.3, 1234.
local function shown(value)
  if type(value) ~= "number" then return tostring(value) end
  if value % 1 == 0 and math.abs(value) < 2^53 then return ("%d"):format(value) end
  return ("%.4g"):format(value)
end

local KEPT = {
  ["<="] = function(value, bound) return value <= bound end,
  [">="] = function(value, bound) return value >= bound end,
}

--- Print a figure, and remember whether it keeps its bound.
---@param figure string one word; the unit is its end, as in gap_ms
---@param value number
---@param relation string "<=" or ">="
---@param bound number
function Scenario:report(figure, value, relation, bound)
  local kept = KEPT[relation](value, bound)
  self.progress:clear()
  print(("policy-bench %s %s %s want %s %s%s"):format(self.name, figure, shown(value), relation, shown(bound),
    kept and "" or "   MISSED"))
  io.stdout:flush()
  self.figures = self.figures + 1
  self.missed = self.missed + (kept and 0 or 1)
end

--- Print what explains the figures.
---@param text string
function Scenario:note(text)
  self.progress:clear()
  print("  " .. text)
  io.stdout:flush()
end

--- On a terminal: a bar.
---@param what string
---@param done number
---@param total number
---@param unit string
function Scenario:show(what, done, total, unit)
  self.progress:show(self.name .. " " .. what, done, total, unit)
end

--- gdn.sim.run, with a bar, without the wall clock, and with policy failures raised.
---@param what string what the bar calls it
---@param options table of sim.run
---@param observe function|nil called after every step: observe(counters, seconds)
---@return table run
function Scenario:simulate(what, options, observe)
  local o = { measure = false, on_policy_error = "raise" }
  for name, value in pairs(options) do o[name] = value end
  function o.progress(counters, seconds)
    self:show(what, counters.finished, counters.n, "requests")
    if observe then observe(counters, seconds) end
  end
  local run = assert(require("gdnmeta.sim").run(o))
  self.progress:clear()
  assert(run.finished == run.requests, what .. ": not every request finished")
  return run
end

--- The scenarios by name.
---@return table names
function M.names()
  local names = {}
  local pipe = assert(io.popen "ls bench/policies/*.lua")
  for path in pipe:lines() do names[#names + 1] = path:match "([^/]*)%.lua$" end
  pipe:close()
  return names
end

--- A scenario by its name, or the path of its file.
---@param name string
---@return table
function M.load(name)
  local path = name:find "[/.]" and name or ("bench/policies/%s.lua"):format(name)
  if not is_there(path) then
    error(("no scenario %s, want one of %s, or the path of a file"):format(
      name, table.concat(M.names(), ", ")), 0)
  end
  local chunk = assert(loadfile(path))
  return chunk()
end

--- Run one scenario.
---@param name string
---@return integer status 0: every bound was kept, 1: not so, 2: it failed, SKIPPED
function M.run(name)
  local loaded, scenario = pcall(M.load, name)
  local self = setmetatable({ name = name:match "([^/]*)%.lua$" or name, figures = 0, missed = 0,
                              progress = terminal.progress(false) }, Scenario)
  if not loaded then
    io.stderr:write(("policy-bench %s failed: %s\n"):format(self.name, scenario))
    return 2
  end
  for _, trace in ipairs(scenario.traces or {}) do
    if not is_there(M.trace(trace)) then
      print(("policy-bench %s SKIPPED: %s is not there (TRACES=<folder>)"):format(self.name, M.trace(trace)))
      return M.SKIPPED
    end
  end
  local ok, message = xpcall(scenario.run, debug.traceback, self)
  self.progress:clear()
  if not ok or self.figures == 0 then
    io.stderr:write(("policy-bench %s failed: %s\n"):format(self.name, ok and "no figure" or message))
    return 2
  end
  return self.missed > 0 and 1 or 0
end

return M
