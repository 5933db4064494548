-- Readings of the host's stopwatch. It may fail and may return anything, in the middle of a step: only a
-- finite number of seconds is taken, and nothing is raised.
local no_yield = require "gdnmeta.policy.contained.no_yield"
local args = require "gdnmeta.native.args"
local raised = require "gdnmeta.policy.contained.raised"
local reserve_stack = require "gdnmeta.policy.contained.reserve_stack"

local pcall, type = pcall, type

local M = {}

--- cursor: of view.lua. Its hook is what the engine is locked by. bare: it cannot yield (main_thread.lua).
---@return number|nil seconds, string? problem
function M.read(stopwatch, cursor, bare)
  if not pcall(reserve_stack.some) then return nil, "stack overflow" end
  local hook = cursor.hook
  cursor.hook = hook or "stopwatch"
  local ok, seconds
  if bare then ok, seconds = pcall(stopwatch) else ok, seconds = no_yield(pcall, stopwatch) end
  cursor.hook = hook
  if ok and type(seconds) == "number" and seconds - seconds == 0 then return seconds end -- not nan, not inf
  if ok then return nil, args.wrong("stopwatch()", seconds, "a finite number of seconds") end
  return nil, "stopwatch failed: " .. raised.text(seconds)
end

--- Seconds since a reading; nil where one of the two is none.
---@return number|nil
function M.since(stopwatch, cursor, before, bare)
  local now = M.read(stopwatch, cursor, bare)
  return before and now and now - before
end

return M
