-- Runs a policy's code so that nothing it does reaches the engine: errors are caught, and untrusted
-- code has an instruction budget; a yield is an error too. Failures are recorded; several steps in a row that
-- fail trip a breaker.
local no_yield = require "gdnmeta.policy.contained.no_yield"
local charged = require "gdnmeta.policy.contained.charged"
local uncompiled = require "gdnmeta.policy.contained.uncompiled"
local problem = require "gdnmeta.policy.contained.raised"
local watch = require "gdnmeta.engine.stopwatch"
local reserve_stack = require "gdnmeta.policy.contained.reserve_stack"
local foreign_text = require "gdnmeta.native.foreign_text"

local sethook, gethook, getinfo = debug.sethook, debug.gethook, debug.getinfo
local traceback, setlocal, xpcall = debug.traceback, debug.setlocal, xpcall

local OVERFLOW = "stack overflow"
local KEPT = 100 -- records
local BRIEF = 100000 -- instructions of an error object's text
local SLICE = 10000 -- instructions between two looks at what is left
local NESTED = 1000 -- instructions that a call into another engine's policy costs the one that makes it

local Guard = {}
Guard.__index = Guard

local trace, raised -- of the failure under way: xpcall's handler returns one value only

local function caught(what)
  trace, raised = traceback("", 2), what
  return what
end

local call_with_budget
local limits -- of the call under way
local methods = {} -- of engines, as a set

-- Why time is over: it is, or the stopwatch failed. The latter stays, or a policy could wait it out.
local function overtime(given)
  if not given.stopwatch then return nil end
  local now, why = watch.read(given.stopwatch, given.cursor)
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

-- Does a method of another engine, which a policy called, stand in code of ours? Cut off there, it would
-- leave that engine half changed. Foreign code that it calls may fail, as always.
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
  if limits.left > 0 and not late or getinfo(2, "f").func == call_with_budget then return end
  if is_busy(3) then return sethook(count_down, "", 1) end
  sethook(count_down, "", 1)
  disarm()
  error(late or "instruction budget spent", 2)
end

function call_with_budget(given, section, a, b, c, d)
  reserve_stack()
  local hook, mask, count = gethook()
  local outer = limits
  limits, given.left, given.problem = given, given.budget, nil
  if given.stopwatch then
    local now, why = watch.read(given.stopwatch, given.cursor)
    if not now then
      limits = outer
      return false, why
    end
    given.ends = now + given.seconds
  end
  charged.enter()
  sethook(count_down, "", given.slice)
  local ok, x, y = xpcall(section, caught, a, b, c, d)
  sethook(hook, mask, count)
  charged.leave()
  limits = outer
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

local function call_trusted(_, section, a, b, c, d)
  return xpcall(section, caught, a, b, c, d)
end

--- Note a failure of this step.
---@param hook string
---@param message string
---@param stack string|nil
---@param request any id
function Guard:fail(hook, message, stack, request)
  local e = self.engine
  local record = { step = e.step_number, policy = self.name, hook = hook, message = message,
                   traceback = stack, request = request }
  if #self.records >= KEPT then table.remove(self.records, 1) end
  self.records[#self.records + 1] = record
  e.stats.failures = e.stats.failures + 1
  self.failed = true
  if not self.answered[hook] then self.failing[hook] = (self.failing[hook] or 0) + 1 end
end

--- Hooks that failed at every call, and how often.
---@return table count by hook
function Guard:never()
  local list = {}
  for hook, n in pairs(self.failing) do
    if not self.answered[hook] and hook ~= "plan" then list[hook] = n end
  end
  return list
end

--- on_policy_error = "raise": when everything is in order again, tell the caller of the engine.
function Guard:raise_failure()
  if not self.raising or not self.failed then return end
  self.failed = false
  local record = self.records[#self.records]
  error(("gdnmeta.engine: policy %s failed in %s: %s"):format(record.policy, record.hook,
                                                              record.traceback or record.message), 0)
end

-- The text of an error object may be a policy's code.
local function run_briefly(f, value)
  return no_yield(call_with_budget, { budget = BRIEF, slice = SLICE }, f, value)
end

-- A section failed: `trace` and `raised` say how, or `why` where nothing could be called.
local function note(self, i, hook, why)
  local stack, message = trace, raised == nil and not trace and why or problem.text(raised, run_briefly)
  if stack then stack = foreign_text.message(message .. stack, true) end
  if not hook then hook = message == OVERFLOW and "call" or "stopwatch" end -- neither came to the hook
  self:fail(hook, message, stack, i >= 0 and self.engine.requests.id[i] or nil)
end

local function call(self, section, a, b, c, d)
  local given = self.limits
  if not given and self.engine.bare then return xpcall(section, caught, a, b, c, d) end
  return no_yield(given and call_with_budget or call_trusted, given, section, a, b, c, d)
end

jit.off(note)
jit.off(call)

--- Call a section. First result false: it failed, and that has been recorded. Where nothing can yield
--- (change_rules.lua), a trusted one needs no boundary.
function Guard:call(section, a, b, c, d)
  local cursor = self.cursor
  trace, raised = nil, nil
  local ok, x, y = pcall(reserve_stack)
  if ok then ok, x, y = call(self, section, a, b, c, d) end
  local i, hook = cursor.i, cursor.hook
  cursor.i, cursor.hook = -1, false
  if not ok then
    note(self, i, hook, x)
    return false
  end
  if i >= 0 or hook == "step" then self.answered[hook] = true end -- else it was called without a request
  return true, x, y
end
jit.off(Guard.call)

--- A step is over. `breaker` failing ones in a row disable the policy.
function Guard:step_done()
  self.in_a_row = self.failed and self.in_a_row + 1 or 0
  self.failed = self.failed and self.raising
  if self.in_a_row >= self.breaker then self.disabled = true end
end

local M = {}

--- Methods of an engine's class, which are not cut off where a policy calls them of another engine.
---@param class table
function M.protect(class)
  for _, method in pairs(class) do
    if type(method) == "function" then methods[method] = true end
  end
end

--- Run untrusted code once, outside any engine.
---@return boolean ok
---@return any result or message
function M.run(budget, code)
  trace, raised = nil, nil
  local ok, result = no_yield(call_with_budget, { budget = budget, slice = slice_of(budget) }, code)
  if not ok then result = problem.text(result, run_briefly) end
  return ok, result
end

-- What an untrusted policy may spend in a section.
local function limits_of(options, cursor)
  return { budget = options.policy_budget, slice = slice_of(options.policy_budget), cursor = cursor,
           stopwatch = options.policy_seconds and options.stopwatch, seconds = options.policy_seconds }
end

function M.new(engine, cursor, policy, options)
  return setmetatable({
    engine = engine, cursor = cursor, name = policy.name, breaker = options.breaker,
    limits = not policy.trusted and limits_of(options, cursor) or nil,
    raising = options.on_policy_error == "raise",
    records = {}, failing = {}, answered = {}, in_a_row = 0, failed = false, disabled = false,
  }, Guard)
end

return M
