-- May an engine change now? Not once it or a builder of its is closed, for then the state tables are gone;
-- nor in the middle of a change, which is where a policy's hooks run.

local receiver = require "gdnmeta.receiver"

--- Raises at the line of the method's caller.
---@param method string who is called, for the message
return function(self, method)
  if type(self) ~= "table" or not rawget(self, "view") then receiver.colon("Engine", method, 4) end
  if self.closed then error("gdnmeta.Engine: closed", 3) end
  local hook, second = self.view.cursor.hook, self.second_builder
  if hook then error(("gdnmeta.Engine:%s: called by the policy's hook %s"):format(method, hook), 3) end
  if not self.builder.handle or second and not second.handle then
    error(("gdnmeta.Engine:%s: %s is closed"):format(
      method, self.builder.handle and "second_builder" or "builder"), 3)
  end
end
