-- The loops that call a policy. Each of them runs inside one guard and changes nothing but scratch
-- columns, so that it may be cut off at any point. This file returns one function without upvalues:
-- untrusted policies get a copy of it that is never compiled (hooks/init.lua). They end with leave(), the
-- last joint of trace_cuts.lua: no trace can follow a section out of its guard, and with it one ends well.
return function(view)
  local loops, cursor, r, ctx, requests = {}, view.cursor, view.r, view.ctx, view.requests
  local leave = view.leave
  local floor, huge = math.floor, math.huge

  local function wrong(hook, value, want)
    local shown = type(value) == "number" and ("%.14g"):format(value) or type(value)
    error(("%s returned %s, want %s"):format(hook, value ~= value and "nan" or shown, want), 0)
  end

  function loops.keys(key, items, n, step)
    cursor.hook = "key"
    local keys, keyed = requests.key, requests.keyed
    for k = 0, n - 1 do
      local i = items[k]
      cursor.i = i
      local value = key(r, ctx)
      if type(value) ~= "number" or value ~= value then wrong("key", value, "a number") end
      keys[i], keyed[i] = value, step
    end
    leave()
  end

  function loops.one_key(key, i, step)
    cursor.hook, cursor.i = "key", i
    local value = key(r, ctx)
    if type(value) ~= "number" or value ~= value then wrong("key", value, "a number") end
    requests.key[i], requests.keyed[i] = value, step
    leave()
  end

  function loops.scores(victim, items, n)
    cursor.hook = "victim"
    local score = requests.score
    for k = 0, n - 1 do
      local i = items[k]
      cursor.i = i
      local value = victim(r, ctx)
      if type(value) ~= "number" or value ~= value then wrong("victim", value, "a number") end
      score[i] = value
    end
    leave()
  end

  function loops.drafts(drafts, items, n)
    cursor.hook = "drafts"
    local allowed, offered = requests.allowed, requests.drafts
    for k = 0, n - 1 do
      local i = items[k]
      local most = offered[i]
      if most > 0 then
        cursor.i = i
        local value = drafts(r, most, ctx)
        if type(value) ~= "number" or not (value >= 0 and value <= most) then
          wrong("drafts", value, ("a number in 0 .. %d"):format(most))
        end
        allowed[i] = floor(value)
      end
    end
    leave()
  end

  function loops.chunk(chunk, i, want)
    cursor.hook, cursor.i = "chunk", i
    local value = chunk(r, want, ctx)
    if type(value) ~= "number" or value ~= value or value < 0 then wrong("chunk", value, "a number >= 0") end
    leave()
    return value >= huge and want or floor(value)
  end

  function loops.admit(admit, i)
    cursor.hook, cursor.i = "admit", i
    local verdict, reason = admit(r, ctx)
    if verdict == nil and type(reason) ~= "string" then wrong("admit", reason, "a reason after nil") end
    if verdict ~= nil and type(verdict) ~= "boolean" then wrong("admit", verdict, "true, false or nil") end
    leave()
    return verdict, reason
  end

  function loops.bound(preempt_for, i)
    cursor.hook, cursor.i = "preempt_for", i
    local value = preempt_for(r, ctx)
    if type(value) ~= "number" or value ~= value then wrong("preempt_for", value, "a number") end
    leave()
    return value
  end

  function loops.event(name, handler, i)
    cursor.hook, cursor.i = name, i
    handler(r, ctx)
    leave()
  end

  function loops.emitted(handler, items, amounts, n)
    cursor.hook = "on_emit"
    for row = 0, n - 1 do
      if amounts[row] > 0 then
        cursor.i = items[row]
        handler(r, amounts[row], ctx)
      end
    end
    leave()
  end

  function loops.full(step, see, plan)
    cursor.hook = "step"
    step(see, plan)
    leave()
  end

  return loops
end
