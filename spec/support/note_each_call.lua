-- What is said when call 1, 2, ... of a driver fails, until an action makes fewer; also without a context.
local ffi = require "ffi"
local assert = require "luassert"

local LAUNCH_FAILED = 719

---@param driver table of spec.support.driver, the fake
---@param note fun(...) of spec.support.noted
---@param name string of the action
---@param action fun(): integer, string a status, and what is said of it where it is not 0
return function(driver, note, name, action)
  for _, current in ipairs { driver.context, false } do
    local n = 0
    repeat
      n = n + 1
      driver:call("cuCtxSetCurrent", current or nil)
      driver.lib.fake_fail(n, LAUNCH_FAILED)
      local status, said = action()
      local failed = ffi.string(driver.lib.fake_failed_call())
      driver.lib.fake_reset()
      note(name, current and "current" or "entered", n, failed, status, status == 0 and "taken" or said)
      local now = ffi.new "void *[1]"
      driver:call("cuCtxGetCurrent", now)
      assert.are.equal(current or nil, now[0] ~= nil and now[0] or nil, failed)
    until failed == ""
  end
end
