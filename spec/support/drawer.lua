-- Numbers by chance that are the same for the same seed, on every machine.

---@param seed integer 1 .. 2^31 - 2
---@return fun(n: integer): integer draw 1 .. n
return function(seed)
  local state = seed
  return function(n)
    state = state * 48271 % 2147483647
    return state % n + 1
  end
end
