-- Methods of an engine called where it cannot change: by its own policy, and without its builder.
local gdn = require "gdnmeta"
local new_path = require "spec.support.new_path"
local raises = require "spec.support.raises"
local serve = require "spec.support.run_engine"
local stands = require "spec.support.stands"

-- Hooks that let everything pass, after the host's `act` was called once.
local function policy_with(hook, act)
  local passes = {
    key = function() return 0 end, chunk = function(_, want) return want end,
    drafts = function(_, k) return k end, admit = function() return true end,
    victim = function() return 0 end, step = function(_, plan) plan:fill() end,
  }
  local pass, done = passes[hook] or function() end, false
  return { [hook] = function(...)
    if not done then
      done = true
      act()
    end
    return pass(...)
  end }
end

local HOOKS = { "key", "chunk", "drafts", "admit", "victim", "step", "on_arrival", "on_admit", "on_emit",
                "on_finish", "on_preempt" }
local METHODS = {
  submit = function(engine) engine:submit(serve.request "new") end,
  cancel = function(engine) engine:cancel(2) end,
  step = function(engine) engine:step(1) end,
  complete = function(engine) engine:complete({}, 1) end,
  checkpoint = function(engine) engine:checkpoint(1) end,
  set_policy = function(engine) engine:set_policy "fair" end,
  policy_reset = function(engine) engine:policy_reset() end,
  lose_states = function(engine) engine:lose_states() end,
  set_cache = function(engine) engine:set_cache "gdsf" end,
  release = function(engine) engine:release {} end,
  fork = function(engine) engine:fork(1, { id = "fork" }) end,
  export = function(engine) engine:export(1) end,
  receive = function(engine) engine:receive(8) end,
  pin = function(engine) engine:pin "session" end,
  unpin = function(engine) engine:unpin "session" end,
  idle_step = function(engine) engine:idle_step(1, 1) end,
  record = function(engine) engine:record(new_path()) end,
  close = function(engine) engine:close() end,
}

-- What runs in the middle of a step without being a hook: act is called once.
local CALLBACKS = {
  cost = function(act)
    local done = false
    local function predict()
      if not done then
        done = true
        act()
      end
      return 0
    end
    return { policy = { admit = function(_, ctx) return ctx.cost.predict(1, 1) == 0 end },
             cost = { predict = predict } }, "the policy's hook admit"
  end,
  stopwatch = function(act)
    local done = false
    return { policy = "fcfs", stopwatch = function()
      if not done then
        done = true
        act()
      end
      return 0
    end }, "the stopwatch"
  end,
}

describe("A method of an engine", function()
  it("is called with a colon", function()
    local engine = serve.engine "fcfs"
    for _, method in ipairs {
      "submit", "cancel", "step", "complete", "idle", "slots", "kv", "request", "verify", "checkpoint",
      "release", "failures", "set_policy", "policy_reset", "record", "set_cache", "cached", "lose_states",
      "fork", "export", "receive", "pin", "unpin", "session", "idle_step", "close",
    } do
      stands(("gdnmeta.Engine:%s: call it"):format(method), function() engine[method]() end)
      stands(("gdnmeta.Engine:%s: call it"):format(method), function() engine[method]({}) end)
    end
    engine:close()
    for _, method in ipairs { "idle", "slots", "kv", "request", "failures", "cached", "session", "verify" } do
      stands("gdnmeta.Engine: closed", function() engine[method](engine, 1) end)
    end
    engine:close() -- once more is nothing
  end)
end)

-- At the line of the call, in these words.
local function assert_refused(method, caller, message)
  local place = debug.getinfo(METHODS[method], "S")
  local want = ("%s:%d: gdnmeta.Engine:%s: called by %s"):format(place.short_src, place.linedefined, method,
                                                                 caller)
  assert.are.equal(want, tostring(message):sub(1, #want))
end

describe("A function of the host's that a step calls", function()
  for callback, make in pairs(CALLBACKS) do
    it(callback .. " cannot change the engine", function()
      for method, call in pairs(METHODS) do
        local engine, message
        local builder = serve.builder { num_speculative_tokens = 1 }
        local options, caller = make(function() message = select(2, pcall(call, engine)) end)
        options.builder = builder
        engine = assert(gdn.engine(options))
        for id = 1, 12 do assert(engine:submit(serve.request(id))) end
        serve.run(engine)
        assert_refused(method, caller, message)
        assert.are.same({ 12, 12, 0, 0 }, { engine.stats.arrived, engine.stats.finished,
                                            engine.stats.cancelled, engine.private.in_flight })
        engine:close()
        builder:close()
      end
    end)

    it(callback .. " cannot free what the engine writes to", function()
      local engine, messages = nil, {}
      local builder = serve.builder()
      local options, caller = make(function()
        messages[1] = select(2, pcall(builder.close, builder))
        messages[2] = select(2, pcall(function() engine.private.steps[1].batch:close() end))
      end)
      options.builder = builder
      engine = assert(gdn.engine(options))
      assert(engine:submit(serve.request(1)))
      serve.run(engine)
      assert.matches("gdnmeta.Builder:close: called by " .. caller, messages[1], 1, true)
      assert.matches("gdnmeta.Batch:close: the batch belongs to an engine", messages[2], 1, true)
      engine:close()
      builder:close()
    end)
  end
end)

describe("A policy's hook", function()
  for _, hook in ipairs(HOOKS) do
    it(hook .. " fails where it changes its own engine, which goes on", function()
      for method, call in pairs(METHODS) do
        local engine, builder
        local policy = policy_with(hook, function() call(engine) end)
        builder = serve.builder { num_speculative_tokens = 1 }
        engine = assert(gdn.engine { builder = builder, policy = policy, kv_tokens = 64, kv_block_size = 4,
                                      kv_headroom = 0 })
        for id = 1, 12 do assert(engine:submit(serve.request(id, { max_tokens = 20 }))) end
        local now = 0
        while not engine:idle() do
          now = now + 1
          assert.is_true(engine:complete(assert(engine:step(now)), now))
        end
        local failures = engine:failures()
        assert.are.equal(1, #failures, hook .. " " .. method)
        assert.are.equal(hook, failures[1].hook)
        assert_refused(method, "the policy's hook " .. hook, failures[1].message)
        assert.are.equal(12, engine.stats.finished)
        assert.are.equal(0, engine:slots().used + engine:kv().used)
        engine:close()
        builder:close()
      end
    end)
  end

  it("may change another engine", function()
    local other = serve.engine "fcfs"
    local engine = serve.engine(policy_with("on_emit", function() assert(other:submit(serve.request(1))) end))
    assert(engine:submit(serve.request(1)))
    serve.run(engine)
    assert.are.equal(1, other.stats.waiting)
  end)
end)

describe("A method of an engine", function()
  it("is called with a colon", function()
    local engine = serve.engine "fcfs"
    raises("gdnmeta.Engine:step: call it with a colon", function() engine.step(1) end)
    raises("gdnmeta.Engine:submit: call it with a colon", function() engine.submit { id = 1 } end)
    raises("gdnmeta.Engine:set_policy: call it with a colon", function() engine.set_policy "fair" end)
    engine:close()
  end)
end)

describe("A stopwatch that yields", function()
  it("fails in a coroutine, also where the call before was in the main thread", function()
    local does_yield = false
    local engine = serve.engine("fcfs", { stopwatch = function()
      if does_yield then coroutine.yield "out of the engine" end
      return 1
    end })
    assert(engine:submit(serve.request(1)))
    local step = assert(engine:step(1))
    assert.are.same({ 0, 0 }, { step.policy_seconds, step.build_seconds })
    assert(engine:complete(step, 1))
    does_yield = true
    for now = 2, 3 do
      local thread = coroutine.create(function()
        step = assert(engine:step(now))
        assert(engine:complete(step, now))
        return "done"
      end)
      assert.are.same({ true, "done" }, { coroutine.resume(thread) })
      assert.are.same({}, { step.policy_seconds, step.build_seconds })
    end
    engine:close()
  end)
end)

describe("An engine whose builder was closed", function()
  local options = { mamba_cache_mode = "align", mamba_block_size = 8, max_blocks_per_row = 1000,
                    max_requests = 256 }

  it("raises instead of writing to tables that are gone", function()
    local builder = serve.builder(options)
    local engine = assert(gdn.engine { builder = builder })
    assert(engine:submit(serve.request(1)))
    local step = assert(engine:step(0))
    builder:close()
    raises("gdnmeta.Engine:submit: builder is closed", function() engine:submit(serve.request(2)) end)
    raises("gdnmeta.Engine:step: builder is closed", function() engine:step(1) end)
    raises("gdnmeta.Engine:complete: builder is closed", function() engine:complete(step, 1) end)
    raises("gdnmeta.Engine:cancel: builder is closed", function() engine:cancel(1) end)
    raises("gdnmeta.Engine:checkpoint: builder is closed", function() engine:checkpoint(1) end)
    engine:close()
    raises("gdnmeta.Engine: closed", function() engine:checkpoint(1) end)
  end)

  it("says so of the second one", function()
    local builder, second = serve.builder(options), serve.builder(options)
    local engine = assert(gdn.engine { builder = builder, second_builder = second, async = true })
    second:close()
    raises("gdnmeta.Engine:step: second_builder is closed", function() engine:step(1) end)
    engine:close()
  end)
end)
