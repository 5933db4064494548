-- Arguments of an engine's methods. What is wrong raises at the line of the method's caller.
local args = require "gdnmeta.native.args"
local results_in = require "gdnmeta.engine.results_in"

local M = {}

function M.now(method, now)
  if type(now) ~= "number" or now - now ~= 0 then -- nan - nan and inf - inf are no 0
    error(("gdnmeta.Engine:%s: %s"):format(method, args.wrong("now", now, "a finite number of seconds")), 3)
  end
end

function M.stream(stream)
  if stream ~= nil and not args.pointer(stream) then
    error("gdnmeta.Engine:step: " .. args.wrong("stream", stream, "nil or a pointer"), 3)
  end
end

--- Steps complete in the order in which they were made.
---@param self table private of the engine
---@param step any
---@param number integer|nil of the step that the host means, where the object may be that of a later one
function M.step(self, step, number)
  if not results_in.is_step_of(self, step) then
    error("gdnmeta.Engine:complete: " .. args.wrong("step", step, "a step of this engine"), 3)
  elseif not step.in_flight or number and number ~= step.number then
    error(("gdnmeta.Engine:complete: step %d is not in flight"):format(number or step.number), 3)
  elseif step ~= self.oldest then
    error(("gdnmeta.Engine:complete: step %d is in flight after step %d"):format(
      step.number, self.oldest.number), 3)
  end
end

return M
