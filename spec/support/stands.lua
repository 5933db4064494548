-- What a call raises stands at the line where the call is written, and begins with certain words. The rest of
-- the message is other specs' matter.
local assert = require "luassert"

--- Assert it.
---@param what string the words
---@param call function written on one line
return function(what, call)
  local ok, message = pcall(call)
  local place = debug.getinfo(call, "S")
  assert.is_false(ok, what)
  local prefix = ("%s:%d: %s"):format(place.short_src, place.linedefined, what)
  assert.are.equal(prefix, tostring(message):sub(1, #prefix))
end
