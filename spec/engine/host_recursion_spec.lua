-- A host that calls an engine at the end of its stack: each method does the whole, or raises with nothing
-- changed.
local gdn = require "gdnmeta"
local serve = require "spec.support.run_engine"

local POLICIES = {
  fcfs = "fcfs", fair = "fair",
  ["hooks with a budget"] = {
    key = function(r) return r.arrival end, admit = function() return true end,
    on_arrival = function() end, on_finish = function() end, on_emit = function() end,
  },
}

-- What a method that is cut off would leave half done.
local function state(e)
  local inner, requests, holders = e.private, 0, 0
  for _ in pairs(inner.requests.index) do requests = requests + 1 end
  for _, n in pairs(inner.users.holders) do holders = holders + n end
  local of_e = { requests, holders, inner.fifo.size, inner.num_running, inner.in_flight, #inner.gone,
                 #inner.requests.free, inner.states:free_slots(), inner.states.free_table_rows,
                 inner.closed and 1 or 0, inner.view.cursor.hook and 1 or 0 }
  for _, name in ipairs { "arrived", "cancelled", "finished", "emitted", "steps", "scheduled", "failures" } do
    of_e[#of_e + 1] = e.stats[name]
  end
  return table.concat(of_e, " ")
end

local function submit(e) return e:submit(serve.request("x", { max_tokens = 1, user = "u" })) end

-- What comes before a method, and the method.
local METHODS = {
  submit = { function() end, submit },
  step = { submit, function(e) return e:step(1) end },
  complete = { function(e)
    submit(e)
    return e:step(1)
  end, function(e, step) return e:complete(step, 2) end },
  ["cancel of one that waits"] = { submit, function(e) return e:cancel "x" end },
  ["cancel of one that runs"] = { function(e)
    submit(e)
    e:step(1)
  end, function(e) return e:cancel "x" end },
  release = { function(e) return e:receive(8) end, function(e, place) e:release(place) end },
  close = { submit, function(e) e:close() end },
}

-- deep(n) calls `act` at depth n; nothing but its own frame is on the stack at each depth.
local act
local function deep(n)
  if n > 0 then return 1 + deep(n - 1) end
  act()
  return 1
end
jit.off(deep)

local function deepest()
  act = function() end
  local low, high = 1, 2 ^ 20
  while high - low > 1 do
    local middle = math.floor((low + high) / 2)
    if pcall(deep, middle) then low = middle else high = middle end
  end
  return low
end

local function each_depth(policy, before, method)
  local whole, raised, most = 0, 0, deepest()
  for depth = most - 280, most, 3 do
    local engine = serve.engine(policy, { breaker = 1e6, stopwatch = function() return 0 end })
    local metrics = assert(gdn.metrics(engine))
    local given = before(engine)
    local as_before, ok, why = state(engine), nil, nil
    act = function() ok, why = pcall(method, engine, given) end
    pcall(deep, depth)
    if ok then
      whole = whole + 1
      assert.are_not.equal(as_before, state(engine))
    else
      raised = raised + 1
      assert.matches("stack overflow", why or "stack overflow", 1, true)
      assert.are.equal(as_before, state(engine))
    end
    assert.are.same({}, engine.private.hooks.guard.records)
    if not engine.private.closed then metrics:close() end
    engine:close()
  end
  assert.is_true(whole > 0 and raised > 0)
end

describe("Where a host's recursion leaves little of the stack", function()
  for policy_name, policy in pairs(POLICIES) do
    for name, method in pairs(METHODS) do
      it(("%s does the whole or nothing, under %s"):format(name, policy_name), function()
        each_depth(policy, method[1], method[2])
      end)
    end
  end
end)
