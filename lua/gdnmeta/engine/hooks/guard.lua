-- Runs a policy's code so that nothing it does reaches the engine: errors are caught, and untrusted
-- code has an instruction budget; a yield is an error too. Failures are recorded; several steps in a row that
-- fail trip a breaker.
local main_thread = require "gdnmeta.policy.contained.main_thread"
local no_yield = require "gdnmeta.policy.contained.no_yield"
local budget = require "gdnmeta.policy.contained.budget"
local stopwatch = require "gdnmeta.engine.stopwatch"
local reserve_stack = require "gdnmeta.policy.contained.reserve_stack"
local last_calls = require "gdnmeta.engine.hooks.last_calls"
local foreign_text = require "gdnmeta.native.foreign_text"
local printed = require "gdnmeta.native.printed"

local xpcall, caught, call_with_budget, failure = xpcall, budget.caught, budget.call, budget.failure

local NONE = require("gdnmeta.engine.requests").NONE
local OVERFLOW = "stack overflow"
local KEPT = 100 -- records
local FAILURE = printed.figures("Failure", { "step", "policy", "hook", "request", "message" })

local Guard = {}
Guard.__index = Guard

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
  local record = setmetatable({ step = e.step_number, policy = self.name, hook = hook, message = message,
                                traceback = stack, request = request, cache = self.is_cache or nil }, FAILURE)
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

-- A section failed: budget.failure says how, or `why` where nothing could be called.
local function note(self, i, hook, why)
  local stack, raised = failure.trace, last_calls.placed(failure.raised, hook and rawget(self.hooks, hook))
  local message = raised == nil and not stack and why or budget.text(raised)
  if stack then stack = foreign_text.message(message .. stack, true) end
  if not hook then hook = message == OVERFLOW and "call" or "stopwatch" end -- neither came to the hook
  self:fail(hook, message, stack, i >= 0 and self.engine.requests.id[i] or nil)
end

-- What stands of a call that failed.
local function end_failed(self, why)
  local cursor = self.cursor
  local i, hook = cursor.i, cursor.hook
  cursor.i, cursor.hook = NONE, false
  note(self, i, hook, why)
  return false
end

local function end_well(self, x, y)
  local cursor = self.cursor
  local hook = cursor.hook
  if cursor.i >= 0 or hook == "step" then self.answered[hook] = true end -- else: without a request
  cursor.i, cursor.hook = NONE, false
  return true, x, y
end

-- Where a section may yield, or has limits.
local function call_bounded(self, section, a, b, c, d)
  local given = self.limits
  local ok, x, y = pcall(reserve_stack.some)
  if ok then ok, x, y = no_yield(given and call_with_budget or call_trusted, given, section, a, b, c, d) end
  if not ok then return end_failed(self, x) end
  return end_well(self, x, y)
end

jit.off(note)
jit.off(end_failed)
jit.off(call_bounded)

--- Call a section. First result false: it failed, and that has been recorded. Where nothing can yield
--- (main_thread.lua), a trusted one needs no boundary, and what calls it is compiled: its stack was reserved
--- as the engine's method began.
function Guard:call(section, a, b, c, d)
  failure.trace, failure.raised = nil, nil
  if self.limits or not main_thread.is_bare(self.engine) then
    return call_bounded(self, section, a, b, c, d)
  end
  local ok, x, y = xpcall(section, caught, a, b, c, d)
  if not ok then return end_failed(self, x) end
  return end_well(self, x, y)
end

--- A step is over. `breaker` failing ones in a row disable the policy.
function Guard:step_done()
  self.in_a_row = self.failed and self.in_a_row + 1 or 0
  self.failed = self.failed and self.raising
  if self.in_a_row >= self.breaker then self.disabled = true end
end

local M = {}

-- What an untrusted policy may spend in a section.
local function limits_of(options, cursor)
  local limits = budget.limits(options.policy_budget)
  if options.policy_seconds and options.stopwatch then
    limits.stopwatch, limits.seconds = options.stopwatch, options.policy_seconds
    limits.cursor, limits.read = cursor, stopwatch.read
  end
  return limits
end

function M.new(engine, cursor, policy, options)
  return setmetatable({
    engine = engine, cursor = cursor, name = policy.name, breaker = options.breaker,
    hooks = rawget(policy, "hooks") or policy,
    limits = not policy.trusted and limits_of(options, cursor) or nil,
    raising = options.on_policy_error == "raise", is_cache = options.is_cache or false,
    records = {}, failing = {}, answered = {}, in_a_row = 0, failed = false, disabled = false,
  }, Guard)
end

return M
