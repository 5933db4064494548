-- Whatever a policy does, batches stay legal, slots stay counted and the server goes on.
local chaos = require "spec.support.chaos"
local gdn = require "gdnmeta"
local play = require "spec.support.random_traffic"
local run_engine = require "spec.support.run_engine"
local three_requests = require "spec.support.three_requests"
local until_met = require "spec.support.until_met"

local function first_seed() return tonumber(os.getenv "GDN_SEED") or os.time() % 2 ^ 24 end

-- A generator of the policy's own: what it draws must not depend on the traffic.
local function generator(seed)
  local state = seed % 2147483646 + 1
  return function(n)
    state = state * 16807 % 2147483647
    return state % n + 1
  end
end

local function play_chaos(seed, make, met)
  math.randomseed(seed)
  local c = play.configuration()
  c.async, c.breaker, c.policy_budget = math.random(3) == 1, 1e6, 5000
  local engine = play.engine(c, make(generator(seed)))
  play.run(c, { engine = engine, where = ("GDN_SEED=%d"):format(seed), cancel = 0.03,
                requests = play.requests(c, math.random(1, 40)) })
  for _, field in ipairs { "steps", "failures", "fallbacks" } do
    met[field] = (met[field] or 0) + engine.stats[field]
  end
  engine:close()
end

local function steps(n) return tonumber(os.getenv "GDN_CASES") and math.min(n, 1000) or n end

describe("A policy that misbehaves at random", function()
  it("in every hook leaves 10,000 steps legal and every slot in its place", function()
    local wanted = { steps = steps(10000), failures = 0.02 * steps(10000), fallbacks = 1 }
    local all = until_met(first_seed(), 1, wanted, function(case, met)
      play_chaos(case, chaos.hooks, met)
    end, 4000)
    assert.is_true(all.fallbacks < all.steps)
  end)

  it("in what it proposes leaves 10,000 steps legal and every slot in its place", function()
    local wanted = { steps = steps(10000), failures = 0.02 * steps(10000) }
    until_met(first_seed(), 1, wanted, function(case, met) play_chaos(case, chaos.step, met) end, 4000)
  end)
end)

-- A policy's step, and hooks that are asked of a request and before one runs.
describe("A hook that fails", function()
  for name, make in pairs {
    step = function(hook) return function(view, plan) hook(view, plan) plan:fill() end end,
    chunk = function(hook) return { chunk = function(r, want) hook(r) return want end } end,
    key = function(hook) return { key = function(r) hook(r) return r.arrival end } end,
  } do
    it("is told apart from one that has answered once: " .. name, function()
      for answers, never in pairs { [0] = true, [1] = false } do
        local calls = 0
        local e = run_engine.engine(make(function()
          calls = calls + 1
          if calls > answers then error "no" end
        end), { breaker = 1e6, on_policy_error = "fallback" })
        for id = 1, 3 do assert(e:submit(run_engine.request(id))) end
        for now = 1, 20 do assert(e:complete(assert(e:step(now)), now)) end
        local records, by_hook = e:failures()
        assert.is_true(#records > 0 and records[1].hook == name, name)
        assert.are.equal(never, by_hook[name] ~= nil, answers)
        e:close()
      end
    end)
  end
end)

describe("A policy that fails", function()
  local builder, engine

  before_each(function()
    builder = assert(gdn.builder { device = "cpu", max_num_seqs = 4, max_num_batched_tokens = 64 })
  end)
  after_each(function()
    if engine then engine:close() end
    engine = nil
    builder:close()
  end)

  local function start(policy, options)
    engine = three_requests(builder, policy, options)
    return engine
  end

  local function steps_until_idle()
    local n = 0
    while not engine:idle() do
      local step = assert(engine:step(n))
      engine:complete(step, n)
      n = n + 1
      assert.is_true(n < 1000)
    end
  end

  it("is recorded with step, hook, message, traceback and request, and the step goes on without it",
     function()
    start { name = "mine", chunk = function(r) if r.id == "r2" then error "no idea" end return 64 end }
    local step = engine:step(1)
    assert.is_true(step.fallback)
    assert.are.equal(3, step.num_rows)
    local failures = engine:failures()
    assert.are.equal(1, #failures)
    local f = failures[1]
    assert.are.same({ 1, "mine", "chunk", "r2" }, { f.step, f.policy, f.hook, f.request })
    assert.matches("containment_spec.lua:%d+: no idea$", f.message)
    assert.matches("stack traceback:.*containment_spec.lua", f.traceback)
    assert.are.equal(1, engine.stats.failures)
    assert.are.equal(1, engine.stats.fallbacks)
  end)

  it("is recorded whatever is raised", function()
    for raised, message in pairs { [7] = "7", [true] = "error object is a boolean" } do
      start { name = "mine", chunk = function() error(raised, 0) end }
      engine:step(1)
      assert.are.equal(message, engine:failures()[1].message)
      engine:close()
    end
  end)

  it("is disabled after three failing steps in a row, and back after policy_reset", function()
    local calls, good = 0, false
    start { drafts = 0, chunk = function()
      calls = calls + 1
      if not good then error "bad" end
      return 1
    end }
    for now = 1, 3 do
      assert.is_true(engine.policy_enabled)
      engine:complete(engine:step(now), now)
      for k = 1, 2 do assert(engine:submit { id = now * 10 + k, prompt_tokens = 50, max_tokens = 1 }) end
    end
    assert.is_false(engine.policy_enabled)
    local before = calls
    local step = engine:step(4)
    assert.is_true(step.fallback)
    assert.are.equal(before, calls)
    engine:complete(step, 4)
    good = true
    engine:policy_reset()
    assert.is_true(engine.policy_enabled)
    step = engine:step(5)
    assert.is_false(step.fallback)
    assert.is_true(calls > before)
  end)

  it("is forgiven when it fails only now and then", function()
    start { chunk = function(_, _, ctx)
      if ctx.step % 3 ~= 0 then error "now and then" end
      return 1
    end }
    for id = 1, 30 do assert(engine:submit { id = id, prompt_tokens = 40, max_tokens = 1 }) end
    steps_until_idle()
    assert.is_true(#engine:failures() > 6)
    assert.is_true(engine.policy_enabled)
  end)

  it("raises where on_policy_error says so, and leaves everything as it was", function()
    start({ name = "mine", chunk = function() return -1 end }, { on_policy_error = "raise" })
    local ok, message = pcall(engine.step, engine, 1)
    assert.is_false(ok)
    assert.matches("^gdnmeta.engine: policy mine failed in chunk: chunk returned %-1, want a number >= 0",
                   message)
    assert.are.equal(0, engine:slots().used)
    assert.are.equal(3, engine.stats.waiting)
    assert(engine:set_policy "fcfs")
    steps_until_idle()
    assert.are.equal(3, engine.stats.finished)
  end)

  it("puts a request last whose key is no number", function()
    start { static = true, key = function(r) return r.id ~= "r1" and r.arrival or 0 / 0 end }
    local step = engine:step(1)
    assert.are.same({ "r2", "r3", "r1" }, step.admitted)
    assert.matches("key returned nan, want a number", engine:failures()[1].message)
  end)

  it("cannot loop without end, whatever catches the interruption", function()
    local function spin() while true do pcall(function() while true do end end) end end
    start({ chunk = spin }, { policy_budget = 10000 })
    local step = engine:step(1)
    assert.is_true(step.fallback)
    assert.matches("instruction budget spent", engine:failures()[1].message)
  end)

  it("cannot loop without end in a helper, in a table of helpers or once it was hot", function()
    local helpers = { spin = function(n) for _ = 1, n do end end }
    local limit = 10
    start({ chunk = function(_, want)
      helpers.spin(limit)
      return want
    end }, { policy_budget = 100000 })
    for n = 1, 500 do assert(engine:submit { id = n, prompt_tokens = 1, max_tokens = 1 }) end
    steps_until_idle()
    assert.are.equal(0, #engine:failures())
    limit = math.huge
    assert(engine:submit { id = "late", prompt_tokens = 5, max_tokens = 1 })
    assert.is_true(engine:step(200).fallback)
  end)

  it("leaves a debug hook of the host's in place", function()
    local ticks = 0
    local function hook() ticks = ticks + 1 end
    start { chunk = function(_, want) return want end }
    debug.sethook(hook, "", 1000)
    engine:step(1)
    local found = debug.gethook()
    debug.sethook()
    assert.are.equal(hook, found)
  end)

  it("cannot starve those that run", function()
    start { name = "stingy", chunk = function(r) return r.computed_tokens == 0 and 5 or 0 end }
    engine:complete(engine:step(1), 1)
    for _, id in ipairs { "r2", "r3" } do engine:cancel(id) end
    assert.are.equal(1, engine:step(2).num_rows)
    assert.are.equal("I24, progress: nothing is scheduled, though requests could run",
                     engine:failures()[1].message)
  end)

  it("hears of whole blocks where its chunks are too short for one", function()
    local of_blocks = assert(gdn.builder { device = "cpu", max_num_seqs = 4, max_num_batched_tokens = 64,
      mamba_cache_mode = "align", mamba_block_size = 16, max_blocks_per_row = 8 })
    engine = assert(gdn.engine { builder = of_blocks, policy = { chunk = 15 } })
    engine:submit { id = 1, prompt_tokens = 40, max_tokens = 1 }
    assert.are.equal(32, engine:step(1).num_tokens)
    assert.are.equal("chunk gives 15 tokens, want 0 or at least ctx.chunk_multiple = 16",
                     engine:failures()[1].message)
  end)

  it("cannot propose what does not fit", function()
    start(function(view, plan)
      for i in view:waiting() do plan:admit(i) end
      for i in view:running() do plan:take(i) end
    end)
    engine:complete(engine:step(1), 1)
    assert(engine:set_policy(function(view, plan)
      for i in view:running() do
        plan:take(i)
        plan:preempt(i)
      end
    end))
    local step = engine:step(2)
    assert.are.equal(0, step.num_rows)
    assert.are.equal(3, #step.preempted)
    assert.are.equal(0, engine:slots().used)
  end)
end)
