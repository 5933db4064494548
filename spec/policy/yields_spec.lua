-- A callback that yields: the engine is in the middle of a step, and has to come back. It fails where it
-- yields, like any other failure, whatever calls it and whatever it calls on the way.
local gdn = require "gdnmeta"
local serve = require "spec.support.run_engine"

local sort = table.sort -- policies see another
local REFUSED = "attempt to yield across C-call boundary"

-- What a host does in the middle of it: the wait of a cosocket is such a yield, too.
local WAYS = {
  directly = function() coroutine.yield "from a hook" end,
  ["in pcall"] = function()
    local ok, why = pcall(coroutine.yield, "from a hook")
    if not ok then error(why, 0) end
  end,
  ["in a metamethod"] = function()
    return setmetatable({}, { __index = function() coroutine.yield() end }).x
  end,
  ["in an iterator"] = function()
    for n in function(_, last) return coroutine.yield(last) end do error(n) end
  end,
  ["in a helper called last"] = function() return (function() return coroutine.yield() end)() end,
}
local PASSES = {
  key = function() return 0 end, chunk = function(_, want) return want end,
  drafts = function(_, k) return k end, admit = function() return true end,
  victim = function() return 0 end, step = function(_, plan) plan:fill() end,
}
local HOOKS = { "key", "chunk", "drafts", "admit", "victim", "step", "on_arrival", "on_emit", "on_finish",
                "on_preempt" }

-- A policy with one hook, which calls act once.
local function policy_with(hook, trusted, act)
  local done = false
  return gdn.policy({ name = "mine", [hook] = function(...)
    if not done then
      done = true
      act(...)
    end
    return (PASSES[hook] or function() end)(...)
  end }, { trusted = trusted })
end

-- Twelve requests to their end, within a coroutine of the host's, or in its main thread. Nothing may come out
-- of it.
local function serve_all(policy, options, in_main)
  local given = { kv_tokens = 64, kv_block_size = 4 }
  for name, value in pairs(options or {}) do given[name] = value end
  local engine
  local function run()
    engine = serve.engine(policy, given, { num_speculative_tokens = 1 })
    for id = 1, 12 do assert(engine:submit(serve.request(id, { max_tokens = 20 }))) end
    local now = 0
    while not engine:idle() do
      now = now + 1
      assert.is_true(engine:complete(assert(engine:step(now)), now))
      assert.is_nil((debug.gethook()))
    end
  end
  if in_main then
    run()
  else
    local host = coroutine.create(run)
    local ok, what = coroutine.resume(host)
    assert.is_true(ok, what)
    assert.are.equal("dead", coroutine.status(host), "it yielded")
  end
  assert.are.equal(12, engine.stats.finished)
  assert.are.equal(0, engine:slots().used + engine:kv().used)
  return engine
end

describe("A callback that yields", function()
  for _, hook in ipairs(HOOKS) do
    it("is a failure of " .. hook, function()
      for way, act in pairs(WAYS) do
        for n = 0, 3 do
          local engine = serve_all(policy_with(hook, n % 2 == 1, act), nil, n > 1)
          local failures = engine:failures()
          assert.are.equal(1, #failures, way)
          assert.are.same({ hook, "mine" }, { failures[1].hook, failures[1].policy })
          assert.matches(REFUSED, failures[1].message, 1, true)
          engine:close()
        end
      end
    end)
  end

  it("fails the hook that asked, where it is the host's cost model", function()
    for name, ask in pairs { predict = function(_, ctx) return ctx.cost.predict(1, 1) end,
                             tokens_within = function(_, ctx) return ctx.cost.tokens_within(1) end } do
      local engine = serve_all(policy_with("admit", false, ask), { cost = { [name] = WAYS.directly } })
      assert.are.equal("admit", engine:failures()[1].hook)
      assert.matches(REFUSED, engine:failures()[1].message, 1, true)
      engine:close()
    end
  end)

  it("costs a reading, where it is the stopwatch", function()
    local calls = 0
    local engine = serve_all("fcfs", { stopwatch = function()
      calls = calls + 1
      if calls % 3 == 0 then coroutine.yield() end
      return calls
    end })
    assert.is_true(calls > 10)
    assert.are.equal(0, #engine:failures())
    engine:close()
  end)

  it("costs the call of a hook, where it is the stopwatch that times it", function()
    local yields = false
    local engine = serve_all(policy_with("chunk", false, function() yields = true end), {
      policy_seconds = 5, stopwatch = function()
        if yields then
          yields = false
          coroutine.yield()
        end
        return 0
      end })
    for _, failure in ipairs(engine:failures()) do assert.matches(REFUSED, failure.message, 1, true) end
    engine:close()
  end)

  it("fails also where a hook of another engine runs its engine in a coroutine", function()
    assert.is_nil((coroutine.running()), "busted runs specs in the main thread")
    local inner
    local outer = serve_all(policy_with("chunk", true, function()
      inner = serve_all(policy_with("admit", true, WAYS.directly))
    end), nil, true)
    assert.are.equal(0, #outer:failures())
    assert.are.equal("admit", inner:failures()[1].hook)
    assert.matches(REFUSED, inner:failures()[1].message, 1, true)
    inner:close()
    outer:close()
  end)

  it("is a failure wherever the engine is called, now in a coroutine, now in the main thread", function()
    for first = 0, 1 do
      local yields = false
      local engine = serve.engine(gdn.policy({ name = "mine", admit = function()
        if yields then coroutine.yield() end
        return true
      end }, { trusted = true }), { breaker = 1e6 })
      for now = 1, 400 do
        yields = now > 390
        local function step()
          assert(engine:submit(serve.request(now, { max_tokens = 1 })))
          assert(engine:complete(assert(engine:step(now)), now))
        end
        if (now + first) % 2 == 0 or now < 300 then
          step()
        else
          local host = coroutine.create(step)
          assert(coroutine.resume(host))
          assert.are.equal("dead", coroutine.status(host))
        end
      end
      assert.are.equal(10, #engine:failures())
      engine:close()
    end
  end)

  -- The boundary is table.sort, see no_yield.lua.
  it("meets a boundary, but for what is trusted in the main thread, where no yield gets far", function()
    local function is_bounded()
      for level = 2, 99 do
        local frame = debug.getinfo(level, "f")
        if not frame then return false end
        if frame.func == sort then return true end
      end
    end
    for _, in_main in ipairs { true, false } do
      for _, trusted in ipairs { true, false } do
        local seen, watched = {}, {}
        local engine = serve_all(gdn.policy({ name = "mine", admit = function()
          seen[#seen + 1] = is_bounded()
          return true
        end, key = function()
          seen[#seen + 1] = is_bounded()
          return 0
        end }, { trusted = trusted }), { stopwatch = function()
          watched[#watched + 1] = is_bounded()
          return 0
        end }, in_main)
        assert.is_true(#seen > 20 and #watched > 20)
        for _, is in ipairs(seen) do assert.are.equal(not (in_main and trusted), is) end
        for _, is in ipairs(watched) do assert.are.equal(not in_main, is) end
        engine:close()
      end
    end
  end)

  it("leaves nothing of its arguments and results behind", function()
    local no_yield = require "gdnmeta.policy.contained.no_yield"
    local left = setmetatable({}, { __mode = "v" })
    for n = 1, 9 do left[n] = {} end
    no_yield(function(_, ...)
      assert.are.equal(5, select("#", ...))
      return left[7], left[8], left[9]
    end, left[1], left[2], left[3], left[4], left[5], left[6])
    collectgarbage()
    assert.is_nil(next(left))
  end)

  it("may run coroutines of its own", function()
    local engine = serve_all(policy_with("chunk", false, function()
      local inner = coroutine.wrap(function() coroutine.yield(7) end)
      assert(inner() == 7)
    end))
    assert.are.equal(0, #engine:failures())
    engine:close()
  end)
end)
