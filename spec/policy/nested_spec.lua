-- A policy's hook that calls another engine, and a host that calls one where the stack is nearly used up: the
-- hook is stopped, the other engine is whole, and nothing of it is left in the VM.
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local serve = require "spec.support.run_engine"

local LIBRARIES = { string = { "find", "match", "gmatch", "gsub", "rep", "sub", "upper" },
                    table = { "insert", "remove", "concat", "sort" } }

-- What a hook's call replaces while it lasts.
local function globals()
  local found = { { debug.gethook() } }
  for library, names in pairs(LIBRARIES) do
    for _, name in ipairs(names) do found[library .. "." .. name] = _G[library][name] end
  end
  return found
end

-- An engine whose hook admit calls `act`, after a step.
local function asked(act, options)
  local engine = serve.engine({ admit = function()
    act()
    return true
  end }, options)
  assert(engine:submit(serve.request(1)))
  local before = globals()
  assert(engine:step(0))
  assert.are.same(before, globals())
  return engine:failures()[1]
end

-- Serves what is there, and one more.
local function finish(engine)
  local now = 1e6
  while not engine:idle() do
    now = now + 1
    local step = engine.private.in_flight > 0 and engine.private.oldest or assert(engine:step(now))
    if step.in_flight then assert.is_true(engine:complete(step, now)) end
  end
  assert.is_nil(next(engine.private.requests.index))
  assert.are.equal(0, engine:slots().used)
  assert(engine:submit(serve.request "new"))
  serve.run(engine)
end

local WORDY = ("y"):rep(1e5)
local OTHERS = {
  ["shipped"] = function() return serve.engine "fair" end,
  ["with hooks"] = function()
    return serve.engine { key = function(r) return r.arrival end, on_arrival = function() end,
                          on_finish = function() end, on_emit = function() end }
  end,
  ["that fails at length"] = function()
    return serve.engine({ on_arrival = function() error(WORDY) end }, { breaker = 1e6 })
  end,
}

describe("A hook that calls another engine", function()
  it("that never ends is stopped", function()
    for _, method in ipairs { "cancel", "submit", "set_policy", "slots" } do
      local calls = 0
      local other = serve.engine { on_arrival = function() end, on_finish = function() end }
      local failure = asked(function()
        while true do
          calls = calls + 1
          if calls > 1e5 then error "never ends" end
          if method == "submit" then assert(other:submit(serve.request(calls))) end
          if method == "submit" or method == "cancel" then other:cancel(calls) end
          if method == "set_policy" then assert(other:set_policy { key = function() return 1 end }) end
          if method == "slots" then other:slots() end
        end
      end)
      assert.matches("instruction budget spent", failure.message, 1, true)
      assert.are.equal("admit", failure.hook)
    end
  end)

  for name, make in pairs(OTHERS) do
    it("is not stopped within it, " .. name, function()
      for budget = 1000, 1900, 290 do
        local other, n = make(), 0
        local failure = asked(function()
          while true do
            n = n + 1
            other:submit(serve.request(n, { max_tokens = 2 }))
            local step = other:step(n)
            if step and step.in_flight then other:complete(step, n) end
          end
        end, { policy_budget = budget })
        assert.matches("instruction budget spent", failure.message, 1, true)
        for _, inner in ipairs(other:failures()) do assert.matches("yyy", inner.message, 1, true) end
        if name == "that fails at length" then assert(other:set_policy "fcfs") end
        for k in pairs(other.private.hooks.guard.records) do other.private.hooks.guard.records[k] = nil end
        finish(other)
      end
    end)
  end

  it("leaves it whole, wherever the budget ends", function()
    local policy = { key = function(r) return r.arrival end, on_arrival = function() end }
    for budget = 1000, 1600, 7 do
      local other, n = serve.engine(policy), 0
      asked(function()
        while true do
          n = n + 1
          other:submit(serve.request(n))
        end
      end, { policy_budget = budget })
      assert.are.same({}, other:failures())
      assert.is_true(other.private.fifo.size > 0)
      assert.are.equal(0, tonumber(lib.gdn_heap_first(other.private.queue.heap)))
      assert.is_true(other:verify())
    end
  end)

  it("pays for what the other's policy spends, and 1000 for each call", function()
    for _, turns in ipairs { 10, 2000 } do
      local calls = 0
      local other = serve.engine { on_arrival = function()
        for n = 1, turns do calls = calls + 0 * n end
        calls = calls + 1
      end }
      asked(function()
        for n = 1, math.huge do other:submit(serve.request(n)) end
      end, { policy_budget = 1e5 })
      local each = 1000 + 4 * turns -- instructions, or so
      local most = 1e5 / each
      assert.is_true(calls > most / 3 and calls < most * 1.5, ("%d of %d"):format(calls, most))
      other:close()
    end
  end)

  it("is stopped in what the other engine calls of it", function()
    local other = serve.engine "fcfs"
    local spin = function() while true do end end
    local failure = asked(function()
      other:submit(setmetatable(serve.request "a", { __index = spin }))
    end)
    assert.matches("instruction budget spent", failure.message, 1, true)
    assert.is_nil(other:request "a")
    finish(other)
  end)

  it("is refused what is too much for it at once also there", function()
    local other, list = serve.engine "fcfs", {}
    for k = 1, 64000 do list[k] = k end -- 4000 instructions
    local failure = asked(function()
      other:submit(setmetatable(serve.request "a", { __index = function() table.insert(list, 1, 7) end }))
    end, { policy_budget = 1900 })
    assert.matches("instruction budget spent", failure.message, 1, true)
    assert.are.equal(64000, #list)
    finish(other)
  end)
end)

describe("Where the stack is nearly used up", function()
  local function calls_deep_down(trusted)
    local policy = gdn.policy({ key = function() return 1 end, on_arrival = function() end },
                              { trusted = trusted })
    local engine = serve.engine(policy, { stopwatch = function() return 0 end, breaker = 1e6 })
    local before, ids = globals(), 0
    local refused, ready = 0, engine:submit(serve.request "first")
    assert.is_true(ready)
    local function deep(left)
      if left > 0 then return 1 + deep(left - 1) end
      ids = ids + 1
      local ok = pcall(function()
        assert(engine:submit(serve.request(ids)))
        engine:cancel(ids)
      end)
      refused = refused + (ok and 0 or 1)
      if debug.gethook() or table.insert ~= before["table.insert"] or engine.private.view.cursor.hook then
        error "left behind"
      end
      return 1 + deep(0)
    end
    for left = 20000, 20010 do assert.matches("stack overflow", select(2, pcall(deep, left)), 1, true) end
    assert.is_true(refused > 0)
    assert.are.same(before, globals())
    assert.are.same({}, engine:failures()) -- what begins has what it needs
    engine:close()
  end

  it("a method is refused, and leaves nothing of it", function()
    calls_deep_down(false)
    calls_deep_down(true)
  end)
end)
