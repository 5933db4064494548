-- May an engine change now? Not once it or a builder of its is closed, for then the state tables are gone;
-- nor in the middle of a change, which is where a policy's hooks and the host's stopwatch run.
local methods = require "gdnmeta.native.methods"

local main_thread = require "gdnmeta.policy.contained.main_thread"
local reserve_stack = require "gdnmeta.policy.contained.reserve_stack"

local Engine = methods.Engine
-- At hand: what is looked up here is looked up by the interpreter, in every step.
local getmetatable, reserve = getmetatable, reserve_stack.more

local M = {}

-- Why it must not change while a callback runs, or nil.
local function busy(self)
  local hook = self.view.cursor.hook
  return hook and "called by " .. methods.caller(hook)
end

--- For methods that change nothing. Raises at the line of the method's caller, as the others do.
---@param method string the one called, for the message
---@return table private of the engine
function M.look(engine, method)
  if getmetatable(engine) ~= Engine then methods.colon("Engine", method, 4) end
  local self = engine.private
  if self.closed then error("gdnmeta.Engine: closed", 3) end
  return self
end

--- The same of a part of an engine, which a host holds.
---@param level integer of the method's caller, as for error
---@return table private of the engine
function M.open(engine, level)
  if engine.private.closed then error("gdnmeta.Engine: closed", level) end
  return engine.private
end

--- For methods that do not need the builder: no callback is under way, and they call none.
---@return table private of the engine
function M.idle(engine, method)
  if getmetatable(engine) ~= Engine then methods.colon("Engine", method, 4) end
  local self = engine.private
  local why = busy(self)
  if why then error(("gdnmeta.Engine:%s: %s"):format(method, why), 3) end
  reserve()
  return self
end

local function check(self, method, level)
  if self.closed then error("gdnmeta.Engine: closed", level) end
  local why, second = busy(self), self.second_builder
  if why then error(("gdnmeta.Engine:%s: %s"):format(method, why), level) end
  if not self.builder.handle or second and not second.handle then
    error(("gdnmeta.Engine:%s: %s is closed"):format(
      method, self.builder.handle and "second_builder" or "builder"), level)
  end
  main_thread.forget(self)
end

--- The check of `change` once more, after code that may be the host's, such as a metamethod of an argument.
--- The stack is as deep as it was then.
---@param self table private of an engine
---@param level integer|nil of the method's caller, as for error; default 3
function M.again(self, method, level)
  check(self, method, (level or 3) + 1)
end

--- For methods that change requests, slots or tables.
---@param begins function|nil of trace_cuts.joint(): what follows the reservation is compiled
---@return table private of the engine
function M.change(engine, method, begins)
  if getmetatable(engine) ~= Engine then methods.colon("Engine", method, 4) end
  local self = engine.private
  reserve() -- calls of hooks and the record of a failure are among what a method needs
  if begins then begins() end
  check(self, method, 4)
  return self
end

return M
