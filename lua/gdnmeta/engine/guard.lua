-- Runs a policy's code so that nothing it does reaches the engine: errors are caught, and untrusted
-- code has an instruction budget. Failures are recorded; several steps in a row that fail trip a breaker.
local sethook, gethook, getinfo = debug.sethook, debug.gethook, debug.getinfo
local traceback, xpcall = debug.traceback, xpcall

local KEPT = 100 -- records

local Guard = {}
Guard.__index = Guard

-- Not tostring: a policy's error object could bring code of its own.
local function text(problem)
  local kind = type(problem)
  if kind == "string" then return problem end
  if kind == "number" then return ("%.14g"):format(problem) end
  return kind == "nil" and "error object is nil" or "error object is a " .. kind
end

local trace -- of the failure under way: xpcall's handler returns one value only

local function caught(problem)
  local message = text(problem)
  trace = traceback(message, 2)
  return message
end

local call_with_budget

-- Count hook. Past the budget every further instruction fails, so that a pcall in the policy cannot
-- swallow it; only call_with_budget itself, on its way out, is left alone.
local function exhausted()
  if getinfo(2, "f").func == call_with_budget then return end
  sethook(exhausted, "", 1)
  error("instruction budget spent", 2)
end

function call_with_budget(budget, section, a, b, c, d)
  local hook, mask, count = gethook()
  sethook(exhausted, "", budget)
  local ok, x, y = xpcall(section, caught, a, b, c, d)
  sethook(hook, mask, count)
  return ok, x, y
end
jit.off(call_with_budget)
jit.off(exhausted)

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
                   traceback = stack,
                   request = request }
  if #self.records >= KEPT then table.remove(self.records, 1) end
  self.records[#self.records + 1] = record
  e.stats.failures = e.stats.failures + 1
  self.failed = true
end

--- on_policy_error = "raise": when everything is in order again, tell the caller of the engine.
function Guard:raise_failure()
  if not self.raising or not self.failed then return end
  self.failed = false
  local record = self.records[#self.records]
  error(("gdnmeta.engine: policy %s failed in %s: %s"):format(record.policy, record.hook,
                                                              record.traceback or record.message), 0)
end

--- Call a section. First result false: it failed, and that has been recorded.
function Guard:call(section, a, b, c, d)
  local cursor, call = self.cursor, self.budget and call_with_budget or call_trusted
  trace = nil
  local ok, x, y = call(self.budget, section, a, b, c, d)
  local i = cursor.i
  cursor.i = -1
  if ok then return true, x, y end
  self:fail(cursor.hook, text(x), trace, i >= 0 and self.engine.requests.id[i] or nil)
  return false
end
jit.off(Guard.call)

--- A step is over. `breaker` failing ones in a row disable the policy.
function Guard:step_done()
  self.in_a_row = self.failed and self.in_a_row + 1 or 0
  self.failed = self.failed and self.raising
  if self.in_a_row >= self.breaker then self.disabled = true end
end

function Guard:reset()
  self.in_a_row, self.failed, self.disabled = 0, false, false
end

local M = {}

--- Run untrusted code once, outside of any engine.
---@return boolean ok
---@return any result or message
function M.run(budget, code)
  trace = nil
  local ok, result = call_with_budget(budget, code)
  return ok, result
end

--- budget: instructions a section, nil for a trusted policy.
function M.new(engine, cursor, name, options, budget)
  return setmetatable({
    engine = engine, cursor = cursor, name = name, budget = budget, breaker = options.breaker,
    raising = options.on_policy_error == "raise", records = {}, in_a_row = 0, failed = false,
      disabled = false,
  }, Guard)
end

return M
