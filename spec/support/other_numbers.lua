-- Requests of a new engine get other numbers than they would: which ones makes no difference. The k-th that
-- arrives gets number 0.

---@param engine gdnmeta.Engine to which nothing was submitted yet
---@param k integer from 1 on
return function(engine, k)
  local r = engine.private.requests
  assert(r.used == 0 and #r.free == 0)
  local n = r.capacity
  for nth = n, 1, -1 do r.free[#r.free + 1] = (nth - k) % n end -- the last one is taken first
  r.used = n
end
