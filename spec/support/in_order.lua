-- The pairs of a table, ascending by their names: for texts that are compared whole.

---@param t table
---@return function next
return function(t)
  local names, n = {}, 0
  for name in pairs(t) do names[#names + 1] = name end
  table.sort(names)
  return function()
    n = n + 1
    return names[n], t[names[n]]
  end
end
