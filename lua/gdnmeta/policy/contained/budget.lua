-- Untrusted code under a budget: after so many instructions, or so much time, it is cut off, whatever catches
-- the error. Also what any code raised last, for xpcall's handler returns one value only.
local no_yield = require "gdnmeta.policy.contained.no_yield"
local charged = require "gdnmeta.policy.contained.charged"
local uncompiled = require "gdnmeta.policy.contained.uncompiled"
local problem = require "gdnmeta.policy.contained.raised"
local reserve_stack = require "gdnmeta.policy.contained.reserve_stack"

local sethook, gethook, getinfo = debug.sethook, debug.gethook, debug.getinfo
local traceback, setlocal, xpcall = debug.traceback, debug.setlocal, xpcall

local BRIEF = 100000 -- instructions of an error object's text
local SLICE = 10000 -- instructions between two looks at what is left
local NESTED = 1000 -- instructions that a call into another engine's policy costs the one that makes it

-- failure: of the one under way. Both fields are there from the start, so that the handler adds none.
local M = { failure = { trace = "", raised = "" } }
local failure = M.failure

--- The handler for xpcall.
---@param what any
function M.caught(what)
  failure.trace, failure.raised = traceback("", 2), what
  return what
end
local caught = M.caught

local call_with_budget
local limits -- of the call under way
local is_crossing -- into such a call or out of it: cut off there, it would leave something behind
local methods = {} -- as a set; see M.protect

-- Why time is over: it is, or the stopwatch failed. The latter stays, or a policy could wait it out.
local function overtime(given)
  if not given.stopwatch then return nil end
  local now, why = given.read(given.stopwatch, given.cursor)
  given.problem = given.problem or why
  return given.problem or now > given.ends and "time limit passed"
end

-- The handlers of xpcall below the code that is interrupted would run before anything is unwound, and without
-- hooks: a loop in one could not be stopped. Nil in its place makes LuaJIT go on without it.
local function disarm()
  local level = 3
  while true do
    local info = getinfo(level, "f")
    if not info or info.func == call_with_budget then return end
    if info.func == xpcall and getinfo(level + 1, "f").func ~= call_with_budget then
      setlocal(level, 1, nil)
    end
    level = level + 1
  end
end

-- A budget in even parts.
local function slice_of(budget)
  return math.ceil(budget / math.ceil(budget / SLICE))
end

-- Does a method of another engine, or of the state cache, which a policy called, stand in code of ours? Cut
-- off there, it would leave that engine half changed. Foreign code that it calls may fail, as always.
local function is_busy(level)
  local info = getinfo(level, "fS")
  while info and uncompiled.is_ours(info.source, "policy/contained/charged") do
    level = level + 1
    info = getinfo(level, "fS")
  end
  if not info or not uncompiled.is_ours(info.source) then return false end
  while info and info.func ~= call_with_budget do
    if methods[info.func] then return true end
    level = level + 1
    info = getinfo(level, "f")
  end
  return false
end

-- Count hook, every limits.slice instructions. Once the budget is spent every further instruction fails,
-- so that a pcall in the policy cannot swallow it; only call_with_budget itself, on its way out, is left
-- alone, and another engine comes to the end of its method.
local function count_down()
  limits.left = limits.left - limits.slice
  local late = overtime(limits)
  if limits.left > 0 and not late or is_crossing or getinfo(2, "f").func == call_with_budget then return end
  if is_busy(3) then return sethook(count_down, "", 1) end
  sethook(count_down, "", 1)
  disarm()
  error(late or "instruction budget spent", 2)
end

--- Call a section. given: budget and slice in instructions, and, for a time limit, stopwatch, seconds, cursor
--- and read(stopwatch, cursor).
---@return boolean ok, any x, any y
function call_with_budget(given, section, a, b, c, d)
  is_crossing = true
  if not pcall(reserve_stack.some) then
    is_crossing = false
    error("stack overflow", 0)
  end
  local hook, mask, count = gethook()
  local outer = limits
  limits, given.left, given.problem = given, given.budget, nil
  if given.stopwatch then
    local now, why = given.read(given.stopwatch, given.cursor)
    if not now then
      limits, is_crossing = outer, false
      return false, why
    end
    given.ends = now + given.seconds
  end
  charged.enter()
  is_crossing = false
  sethook(count_down, "", given.slice)
  local ok, x, y = xpcall(section, caught, a, b, c, d)
  is_crossing = true
  sethook(hook, mask, count)
  charged.leave()
  limits, is_crossing = outer, false
  if outer then -- its count restarts: without a charge it could call forever
    outer.left = outer.left - (given.budget - given.left) - NESTED
    if outer.left <= 0 then sethook(count_down, "", 1) end
  end
  return ok, x, y
end

-- Work that one instruction did, in instructions.
function charged.charge(n)
  if not limits then return end
  limits.left = limits.left - n
  if limits.left > 0 then return end
  sethook(count_down, "", 1)
  if not is_busy(3) then error("instruction budget spent", 3) end
end

--- Is it one of ours that calls a function of string or table, for another engine? Then nothing is refused.
---@return boolean
function charged.is_excused() return is_busy(2) end

jit.off(charged.charge)
jit.off(disarm)
jit.off(is_busy)
jit.off(call_with_budget)
jit.off(count_down)

M.call = call_with_budget

--- Methods that change an engine, and are not cut off where a policy's call leads to them.
---@param class table
function M.protect(class)
  for _, method in pairs(class) do
    if type(method) == "function" then methods[method] = true end
  end
end

-- The text of an error object may be a policy's code.
local function run_briefly(f, value)
  return no_yield(call_with_budget, { budget = BRIEF, slice = SLICE }, f, value)
end

--- What was raised, in words.
---@param raised any
---@return string
function M.text(raised) return problem.text(raised, run_briefly) end

--- What an untrusted policy may spend in a section.
---@param budget integer instructions
---@return table for M.call
function M.limits(budget) return { budget = budget, slice = slice_of(budget) } end

--- Run untrusted code once, outside any engine.
---@return boolean ok
---@return any result or message
function M.run(budget, code)
  local ok, result = no_yield(call_with_budget, M.limits(budget), code)
  if not ok then result = M.text(result) end
  return ok, result
end

return M
