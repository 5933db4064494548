-- Memory of the Lua heap that a function takes and does not give back by itself.

---@param run function
---@return number kilobytes
return function(run)
  collectgarbage()
  collectgarbage "stop"
  local before = collectgarbage "count"
  run()
  local grown = collectgarbage "count" - before
  collectgarbage "restart"
  return grown
end
