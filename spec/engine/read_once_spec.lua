-- Fields of what a host passes are read once each, wherever they come from, and what was read is what is
-- judged and used: tables that inherit, that change between two reads, that raise, that act while they are
-- read.
local gdn = require "gdnmeta"
local serve = require "spec.support.run_engine"

-- A table whose fields stand in another one.
local function inherits(fields) return setmetatable({}, { __index = fields }) end

-- A table that gives its good fields at the first read of each, and `bad` afterwards.
local function changes(fields, bad)
  local seen = {}
  return setmetatable({}, { __index = function(_, name)
    if seen[name] then return bad[name] end
    seen[name] = true
    return fields[name]
  end })
end

-- A table that does something when `at` is read.
local function acts(fields, at, act)
  return setmetatable({}, { __index = function(_, name)
    if name == at then act() end
    return fields[name]
  end })
end

local REQUEST = { id = "a", prompt_tokens = 10, max_tokens = 4, arrival = 0, user = "ada", class = "gold",
                  weight = 1, priority = 0, ttft = 1, tpot = 1, deadline = 1 }
local BAD = { id = {}, prompt_tokens = -3, max_tokens = -3, arrival = 0 / 0, user = false, class = {},
              weight = 0, priority = "high", ttft = "soon", tpot = {}, deadline = "now", checkpoint = 7 }

local function with(fields, name, value)
  local copy = {}
  for key, field in pairs(fields) do copy[key] = field end
  copy[name] = value
  return copy
end

-- All that submit may change.
local function books(engine)
  local e, stats = engine.private, {}
  local r = e.requests
  for name, value in pairs(engine.stats) do stats[name] = value end
  return { stats = stats, used = r.used, free = #r.free, ids = { next(r.index) }, fifo = e.fifo.size,
           users = e.users.size - #e.users.free, classes = e.classes.size - #e.classes.free,
           arrivals = e.arrivals }
end

describe("Engine:submit", function()
  local engine
  before_each(function() engine = serve.engine("fcfs", nil, { num_speculative_tokens = 2 }) end)
  after_each(function() if not engine.private.closed then engine:close() end end)

  it("takes fields that are inherited, and judges them", function()
    assert(engine:submit(inherits(REQUEST)))
    local shown = engine:request "a"
    assert.are.same({ "ada", "gold", 10, 4 },
      { shown.user, shown.class, shown.prompt_tokens, shown.max_tokens })
    for name, bad in pairs(BAD) do
      local before = books(engine)
      local ok, message = pcall(engine.submit, engine, inherits(with(with(REQUEST, "id", "b"), name, bad)))
      assert.is_false(ok, name)
      assert.matches("gdnmeta.Engine:submit: " .. name .. " = ", message, 1, true)
      assert.are.same(before, books(engine))
    end
  end)

  it("uses what it has judged", function()
    assert(engine:submit(changes(REQUEST, BAD)))
    serve.run(engine)
    assert.are.equal(4, engine.stats.emitted)
  end)

  it("changes nothing where a field raises, or something finds no memory", function()
    local function boom() error("boom", 0) end
    local before = books(engine)
    for name in pairs(REQUEST) do
      local ok, message = pcall(engine.submit, engine, acts(REQUEST, name, boom))
      assert.are.same({ false, "boom" }, { ok, message })
      assert.are.same(before, books(engine))
    end
    local e = engine.private
    for _, part in ipairs { { e.users, "hold" }, { e.classes, "hold" }, { e.requests, "take" },
                            { e.requests, "next_number" } } do
      part[1][part[2]] = boom
      assert.are.same({ false, "boom" }, { pcall(engine.submit, engine, REQUEST) })
      part[1][part[2]] = nil
      assert.are.same(before, books(engine))
    end
    assert(engine:submit(REQUEST))
    assert(engine:cancel "a")
  end)

  it("sees what a field did to the engine", function()
    local same = acts(REQUEST, "id", function() assert(engine:submit(REQUEST)) end)
    local ok, message = engine:submit(same)
    assert.is_nil(ok)
    assert.are.equal('id "a" is in use', message)
    assert.are.equal(1, engine.stats.arrived)
    ok, message = pcall(engine.submit, engine, acts(with(REQUEST, "id", "b"), "user",
                                                    function() engine:close() end))
    assert.is_false(ok)
    assert.matches("gdnmeta.Engine: closed", message, 1, true)
  end)
end)

describe("Engine:complete", function()
  local engine, step
  before_each(function()
    engine = serve.engine("fcfs", nil, { num_speculative_tokens = 2 })
    for _, id in ipairs { "a", "b" } do assert(engine:submit(with(REQUEST, "id", id))) end
    assert(engine:complete(engine:step(0), 0))
    step = assert(engine:step(1))
  end)
  after_each(function() if not engine.private.closed then engine:close() end end)

  it("takes results that are inherited, and judges them", function()
    for _, results in ipairs { inherits { a = { accepted_drafts = 9 } }, { b = inherits { stop = -1 } },
                               inherits { a = {}, b = inherits { next_drafts = 3 } },
                               { a = {}, b = { stop = 7 } } } do
      step.accepted_drafts[0], step.stop[1], step.next_drafts[0] = 1, 1, 1
      local ok, message = pcall(engine.complete, engine, step, 1, results)
      assert.is_false(ok)
      assert.matches("gdnmeta.Engine:complete: request ", message, 1, true)
      assert.are.same({ 1, 1, 1, true }, { step.accepted_drafts[0], step.stop[1], step.next_drafts[0],
                                           step.in_flight }) -- nothing changed
    end
    assert(engine:complete(step, 1, inherits { b = inherits { stop = true } }))
    assert.are.same({ "b" }, step.finished)
  end)

  it("uses what it has judged", function()
    local result = changes({ accepted_drafts = 2, next_drafts = 1 },
                           { accepted_drafts = -9, next_drafts = 99 })
    assert(engine:complete(step, 1, { a = result }))
    local row = step:id(0) == "a" and 0 or 1
    assert.are.same({ 2, 1 }, { step.accepted_drafts[row], step.next_drafts[row] })
  end)

  it("sees what a result did to the engine", function()
    local results = { a = acts({}, "stop", function() assert(engine:complete(step, 1)) end) }
    local ok, message = pcall(engine.complete, engine, step, 1, results)
    assert.is_false(ok)
    assert.matches("is not in flight", message, 1, true)
    assert.are.equal(0, engine.private.in_flight)
  end)

  it("is not taken in by a result that makes the next step, whose object is the same", function()
    for _, next_rows in ipairs { 0, 1, 2, 4 } do
      local e = serve.engine("fcfs", nil, { num_speculative_tokens = 2 })
      for _, id in ipairs { "a", "b" } do assert(e:submit(with(REQUEST, "id", id))) end
      local first = e:step(1)
      local results = acts({ a = { next_drafts = 1 }, b = { next_drafts = 1 } }, "a", function()
        assert(e:complete(first, 1))
        if next_rows < 2 then e:cancel "b" end
        if next_rows < 1 then e:cancel "a" end
        for n = 3, next_rows do assert(e:submit(with(REQUEST, "id", n))) end
        assert(e:step(2))
      end)
      local ok, message = pcall(e.complete, e, first, 1, results)
      assert.is_false(ok)
      assert.matches("gdnmeta.Engine:complete: step 1 is not in flight", message, 1, true)
      assert.are.equal(next_rows, first.num_rows)
      for row = 0, next_rows - 1 do assert.are.equal(2, first.next_drafts[row]) end -- the default
      e:close()
    end
  end)
end)

describe("What closes the engine while it is read", function()
  local PATH = os.tmpname()
  local CALLS = {
    set_policy = function(e, act) e:set_policy(acts({}, "key", act)) end,
    policy_reset = function(e, act)
      local armed = false
      assert(e:set_policy(acts({}, "key", function() if armed then act() end end)))
      armed = true
      e:policy_reset()
    end,
    record = function(e, act) e:record(PATH, acts({}, "max_bytes", act)) end,
    metrics = function(e, act) gdn.metrics(e, acts({}, "classes", act)) end,
    complete = function(e, act) e:complete(e:step(1), 1, acts({}, "a", act)) end,
    submit = function(e, act) e:submit(acts(with(REQUEST, "id", "b"), "user", act)) end,
  }
  for method, call in pairs(CALLS) do
    it("is noticed by " .. method, function()
      local engine = serve.engine "fcfs"
      assert(engine:submit(with(REQUEST, "id", "a")))
      local ok, message = pcall(call, engine, function() engine:close() end)
      assert.is_false(ok)
      assert.matches("read_once_spec.lua:%d+: gdnmeta.Engine: closed$", message)
      assert.are.equal(method == "policy_reset" and "anonymous" or "fcfs", engine.policy.name)
      os.remove(PATH)
    end)
  end
end)

describe("Options", function()
  it("of a builder and of an engine may be inherited", function()
    local builder = assert(gdn.builder(inherits { device = "cpu", max_num_seqs = 3,
                                                  max_num_batched_tokens = 32 }))
    assert.are.equal(3, builder.max_rows)
    local engine = assert(gdn.engine(inherits { builder = builder, policy = "priority",
                                                max_model_len = 99 }))
    assert.are.same({ "priority", 99 }, { engine.policy.name, engine.private.token_limits.max_model_len })
    engine:close()
    for _, wrong in ipairs { { max_num_seqs = -1 }, { max_model_len = "x" }, { cost = 7 },
                             { breaker = 0 } } do
      wrong.builder = builder
      assert.is_false((pcall(gdn.engine, inherits(wrong))))
    end
    builder:close()
  end)

  it("are used as they were judged", function()
    local builder = assert(gdn.builder(changes({ device = "cpu", max_num_seqs = 3, num_slots = 9 },
                                               { device = 7, max_num_seqs = -1, num_slots = -1 })))
    assert.are.same({ 3, { 9 } }, { builder.max_rows, builder.num_slots })
    local engine = assert(gdn.engine(changes({ builder = builder, max_model_len = 50,
                                               capture_sizes = { 1, 2 } },
                                             { max_model_len = -1, capture_sizes = { 2, 1 } })))
    assert.are.same({ 2, 50 }, { engine.private.largest_size, engine.private.token_limits.max_model_len })
    engine:close()
    builder:close()
    local order = gdn.reorder(changes({ decode_threshold = 1, num_scheduled = { 1 }, num_computed = { 4 },
                                        num_prompt = { 4 } }, {})).order
    assert.are.same({ 0 }, order)
  end)

  it("of a cost model are methods that it inherits, too", function()
    local asked
    local model = inherits { predict = function(tokens) asked = tokens return 0 end }
    local engine = serve.engine({ admit = function(_, ctx) return ctx.cost.predict(7, 1) == 0 end },
                                { cost = model })
    assert(engine:submit(serve.request(1)))
    serve.run(engine)
    assert.are.equal(7, asked)
    engine:close()
  end)

  it("of a policy are hooks that it inherits, too, within a budget", function()
    local base = { key = function() return 0 end }
    local policy = gdn.policy(setmetatable({ name = "mine" }, { __index = base }))
    assert.are.equal("function", type(policy.key))
    for _, way in ipairs { function() while true do end end, function() error "no idea" end,
                           function() coroutine.yield() end } do
      assert.is_false((pcall(gdn.policy, setmetatable({}, { __index = way }))))
    end
    assert.is_false((pcall(gdn.policy, inherits { chunk = "x" })))
  end)
end)
