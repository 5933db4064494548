-- Programming errors must name the caller's line. `call` is a function written on one line; the
-- message is compared whole, place included.
local assert = require "luassert"

--- Assert that call() raises `message` at the line on which `call` was written.
---@param message string
---@param call function
return function(message, call)
  local ok, err = pcall(call)
  local where = debug.getinfo(call, "S")
  assert.is_false(ok, "did not raise: " .. message)
  assert.are.equal(("%s:%d: %s"):format(where.short_src, where.linedefined, message), err)
end
