-- Memory of the Lua heap that a function takes and does not give back by itself, in KB. What LuaJIT compiles
-- meanwhile counts, too, but only once: garbage shows in each of three windows, hence their least.
local WINDOWS, NOTHING = 3, 1

---@param run function is called once per window
---@return number kilobytes
return function(run)
  local least = math.huge
  for _ = 1, WINDOWS do
    collectgarbage()
    collectgarbage "stop"
    local before = collectgarbage "count"
    run()
    least = math.min(least, collectgarbage "count" - before)
    collectgarbage "restart"
    if least < NOTHING then break end
  end
  return least
end
