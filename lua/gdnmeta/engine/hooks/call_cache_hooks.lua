-- The calls of a cache's hooks: each runs inside one guard, and changes nothing but what it is given to fill.
-- This file returns one function without upvalues: untrusted caches get a copy of it that is never compiled,
-- as policies do of call_hooks.lua.
---@param self table of cache_hooks.lua
---@param args table gdnmeta.native.args
---@param positions table gdnmeta.engine.prefix.positions
---@param bad_value fun(values: number[], n: integer): integer|nil
---@return table<string, function> calls by the hook's name
return function(self, args, positions, bad_value)
  local calls, cursor, cache, ctx, r = {}, self.view.cursor, self.cache, self.ctx, self.view.r

  function calls.checkpoints(i, to, cuts)
    cursor.hook, cursor.i = "checkpoints", i
    self.is_lent = false
    local list = cache.checkpoints(r, self.from, to, ctx)
    local problem = positions.problem(list, self.looks)
    if problem then error("checkpoints" .. problem, 0) end
    positions.fit(list, self.from, self.blocks_end, self.size, cuts)
    return true
  end

  function calls.worth(nodes, n, values)
    cursor.hook = "worth"
    cache.worth(nodes, n, values, ctx)
    local k = bad_value(values, n)
    if k then
      error(("worth left values[%d] = %s, want a number"):format(k, args.show(rawget(values, k))), 0)
    end
    self.guard.answered.worth = true
  end

  function calls.keep(i, node)
    cursor.hook, cursor.i = "keep", i
    local verdict = cache.keep(node, ctx)
    if type(verdict) ~= "boolean" and (type(verdict) ~= "number" or verdict ~= verdict) then
      error("keep returned " .. args.show(verdict) .. ", want true, false or a number", 0)
    end
    return verdict
  end

  function calls.demote(node)
    cursor.hook = "demote"
    local verdict = cache.demote(node, ctx)
    if verdict ~= "host" and verdict ~= "drop" then
      error("demote returned " .. args.show(verdict) .. ', want "host" or "drop"', 0)
    end
    self.guard.answered.demote = true
    return verdict
  end

  return calls
end
