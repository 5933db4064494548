-- Memory of the Lua heap that a function takes and does not give back by itself, in KB. What LuaJIT compiles
-- meanwhile counts, too, but only once, and which code it picks is chance: now and then it keeps boxed
-- numbers. Garbage of the function itself shows in each window, also after all machine code was thrown away,
-- hence the least of them.
local WINDOWS, TRIES, NOTHING = 3, 4, 1

local function grown(run)
  collectgarbage()
  collectgarbage "stop"
  local before = collectgarbage "count"
  run()
  local growth = collectgarbage "count" - before
  collectgarbage "restart"
  return growth
end

---@param run function is called once per window
---@return number kilobytes
return function(run)
  local least = math.huge
  for try = 1, TRIES do
    if try > 1 then
      jit.flush()
      run()
    end
    for _ = 1, WINDOWS do
      least = math.min(least, grown(run))
      if least < NOTHING then return least end
    end
  end
  return least
end
