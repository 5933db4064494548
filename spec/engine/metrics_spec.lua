-- gdn.metrics over random traffic: the page, read back by the format's grammar, says what was seen from
-- outside and what the engine's stats say.
local gdn = require "gdnmeta"
local growth = require "spec.support.growth"
local exposition = require "spec.support.exposition"
local onlookers = require "spec.support.metrics_onlooker"
local play = require "spec.support.random_traffic"
local serve = require "spec.support.run_engine"

local CASES = math.ceil((tonumber(os.getenv "GDN_CASES") or 2000) / 40)
local SHIPPED = { "fcfs", "decode_first", "priority", "shortest_prefill", "fair", "deadline" }

local function page_of(metrics) return exposition.read(metrics:text()) end

-- A policy that turns some away, and one that fails now and then.
local function policy_of(case)
  if case % 4 == 0 then
    return { order = "fcfs", admit = function(r) return r.id % 5 > 0 or nil, "no fives" end }
  elseif case % 4 == 1 then
    return { order = "fcfs", chunk = function(r, want) return r.id % 7 == 0 and {} or want end }
  end
  return SHIPPED[case % #SHIPPED + 1]
end

describe("Metrics", function()
  it("say what an onlooker saw and what the stats say, in random traffic", function()
    local seed = tonumber(os.getenv "GDN_SEED") or os.time() % 2 ^ 24
    for case = seed, seed + CASES - 1 do
      math.randomseed(case)
      local where, c = ("GDN_SEED=%d "):format(case), play.configuration()
      c.async = case % 3 == 0
      local engine = play.engine(c, policy_of(case))
      local metrics = assert(gdn.metrics(engine))
      local seen, opts = onlookers.onlooker()
      seen.lag = function(step) return engine.private.now - step.now end
      opts.engine, opts.where, opts.cancel = engine, where, 0.05
      opts.requests = play.requests(c, math.random(1, 40))
      local most_page
      local complete = opts.on_complete
      function opts.on_complete(step)
        complete(step)
        if math.random() < 0.1 then most_page = page_of(metrics) end
      end
      play.run(c, opts)
      local page = page_of(metrics)
      onlookers.same_as_seen(where, page, seen)
      onlookers.same_as_stats(where, page, engine)
      if most_page then
        for stat in pairs { steps_total = 1, scheduled_tokens_total = 1, emitted_tokens_total = 1 } do
          assert.is_true(exposition.sum(most_page, "gdnmeta_" .. stat)
            <= exposition.sum(page, "gdnmeta_" .. stat), where .. "a counter fell")
        end
      end
      engine:close()
    end
  end)

  local function engine_of(options)
    local given = { builder = serve.builder { max_num_seqs = 4, max_num_batched_tokens = 64 },
                    max_model_len = 200, policy = "fcfs" }
    for name, value in pairs(options or {}) do given[name] = value end
    return assert(gdn.engine(given))
  end

  local function play_one(engine, request, now)
    assert(engine:submit(request))
    while not engine:idle() do
      local step = assert(engine:step(now))
      now = now + 1
      assert(engine:complete(step, now))
    end
  end

  it("have planning and building times where the host has a stopwatch, and only there", function()
    local ticks = 0
    local engine = engine_of { stopwatch = function() ticks = ticks + 1 return ticks / 1024 end }
    local metrics = assert(gdn.metrics(engine))
    play_one(engine, { id = 1, prompt_tokens = 70, max_tokens = 3 }, 0)
    engine:step(9)
    local page = page_of(metrics)
    local _, count, sum = exposition.histogram(page, "gdnmeta_policy_seconds")
    assert.are.same({ 5, 5 / 1024 }, { count, sum })
    _, count, sum = exposition.histogram(page, "gdnmeta_build_seconds")
    assert.are.same({ 4, 4 / 1024 }, { count, sum })
    engine:close()
    engine = engine_of()
    page = page_of(assert(gdn.metrics(engine)))
    assert.is_nil(page.gdnmeta_policy_seconds)
    assert.is_nil(page.gdnmeta_build_seconds)
    engine:close()
  end)

  it("say whether the policy plans", function()
    local engine = engine_of { policy = { chunk = function() return -1 end }, breaker = 1 }
    local metrics, seen = assert(gdn.metrics(engine)), {}
    for now = 1, 2 do
      seen[now] = metrics:text():match "\ngdnmeta_policy_disabled (%d+)\n"
      play_one(engine, { id = 1, prompt_tokens = 7, max_tokens = 1 }, now)
    end
    assert.are.same({ "0", "1" }, seen)
    engine:close()
  end)

  it("are all in the guide", function()
    local guide = require("spec.support.blocks").read "docs/engine.md"
    local engine = engine_of { kv_tokens = 4096, stopwatch = function() return 0 end }
    for name in pairs(page_of(assert(gdn.metrics(engine)))) do
      assert.is_truthy(guide:find("`" .. name:gsub("^gdnmeta_", "") .. "`", 1, true), name)
    end
    engine:close()
  end)

  it("escape labels, and let no name make an illegal page", function()
    local engine = engine_of()
    local odd = { 'a"b\\c\nd', "\xc3\xa9", 7, "7", "", "other" }
    local broken = { "\xff", "\xc3", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc0\xaf", ("x"):rep(65),
                     ("y"):rep(2^20) }
    local metrics = assert(gdn.metrics(engine, { labels = { worker = '0"\\\n', zone = "a" } }))
    for _, list in ipairs { odd, broken } do
      for _, class in ipairs(list) do
        play_one(engine, { id = 1, prompt_tokens = 1, max_tokens = 1, class = class }, 0)
      end
    end
    assert.is_true(#metrics:text() < 64 * 1024)
    local page = page_of(metrics)
    local function arrived(class)
      return exposition.sum(page, "gdnmeta_requests_arrived_total",
        { class = class, worker = '0"\\\n', zone = "a" })
    end
    assert.are.same({ 1, 1, 2, 1, 1 + #broken },
      { arrived(odd[1]), arrived(odd[2]), arrived "7", arrived "", arrived "other" })
    engine:close()
  end)

  it("have a bounded number of series, whatever classes there are", function()
    local engine = engine_of()
    local metrics = assert(gdn.metrics(engine, { classes = 3 }))
    for id = 1, 50 do
      play_one(engine, { id = id, prompt_tokens = 2, max_tokens = 2, class = "c" .. id }, id)
      assert(not engine:submit { id = id, prompt_tokens = 999, max_tokens = 2, class = "d" .. id })
    end
    local page, seen = page_of(metrics), 0
    for _, sample in ipairs(page.gdnmeta_emitted_tokens_total.samples) do
      seen = seen + 1
      assert.are.equal(sample.labels.class == "other" and 2 * 47 or 2, sample.value)
    end
    assert.are.equal(4, seen)
    assert.are.equal(50, exposition.sum(page, "gdnmeta_requests_total", { outcome = "refused" }))
    engine:close()
  end)

  it("know requests that were there before, and count nothing once closed", function()
    local engine = engine_of()
    engine:submit { id = "runs", prompt_tokens = 10, max_tokens = 5, arrival = 0, class = "a" }
    local step = engine:step(1)
    engine:complete(step, 2)
    engine:submit { id = "waits", prompt_tokens = 10, max_tokens = 1, arrival = 2, class = "a" }
    local metrics = assert(gdn.metrics(engine))
    assert.are.same({ nil, "the engine has metrics already, close those first", gdn.EINVAL },
      { gdn.metrics(engine) })
    engine:complete(engine:step(4), 5)
    local page = page_of(metrics)
    local _, count, sum = exposition.histogram(page, "gdnmeta_time_between_tokens_seconds")
    assert.are.same({ 1, 3 }, { count, sum })
    _, count, sum = exposition.histogram(page, "gdnmeta_queue_seconds")
    assert.are.same({ 1, 2 }, { count, sum })
    metrics:close()
    engine:complete(engine:step(6), 7)
    assert.are.equal(2, exposition.sum(page_of(metrics), "gdnmeta_emitted_tokens_total"))
    assert(gdn.metrics(engine))
    engine:close()
    assert.has_error(function() metrics:text() end, "gdnmeta.Engine: closed")
  end)

  it("count the time in the queue of a request once, though it was preempted before", function()
    for times = 0, 2 do
      local engine, left = engine_of(), 0
      assert(engine:set_policy(function(view, plan)
        for i in view:running() do
          if left > 0 then plan:preempt(i) else plan:take(i, 1) end
        end
        if left == 0 then for i in view:waiting() do plan:take(i, 10) end end
        left = 0
      end))
      engine:submit { id = 1, prompt_tokens = 10, max_tokens = 5, arrival = 0 }
      local now = 1
      for _ = 1, times do
        engine:complete(engine:step(now), now)
        left, now = 1, now + 2
        engine:step(now - 1)
      end
      local metrics = assert(gdn.metrics(engine))
      engine:complete(engine:step(now), now)
      local _, count = exposition.histogram(page_of(metrics), "gdnmeta_queue_seconds")
      assert.are.equal(times == 0 and 1 or 0, count, times)
      engine:close()
    end
  end)

  it("count nothing less where the host's clock is set back", function()
    local engine = engine_of()
    local metrics = assert(gdn.metrics(engine))
    engine:submit { id = 1, prompt_tokens = 1, max_tokens = 2, arrival = 100 }
    for now = 50, 40, -10 do engine:complete(engine:step(now), now - 5) end
    local page = page_of(metrics)
    for _, name in pairs(onlookers.HISTOGRAMS) do
      local _, count, sum = exposition.histogram(page, "gdnmeta_" .. name)
      assert.is_true(count > 0 and sum == 0, name)
    end
    engine:close()
  end)

  it("name what they cannot take, at the caller's line", function()
    local engine = engine_of()
    for message, given in pairs {
      ["unknown option clases, want one of classes, labels"] = { clases = 1 },
      ["classes = 0, want an integer in 1 .. 1000"] = { classes = 0 },
      ["labels = 1, want a table"] = { labels = 1 },
      ['labels = "le", want names of letters, digits and _ that are none of class, outcome, le'] =
        { labels = { le = "1" } },
      ["labels.a = 1, want a string of at most 64 bytes, UTF-8"] = { labels = { a = 1 } },
      ["options = 3, want a table or nil"] = 3,
    } do
      local ok, problem = pcall(gdn.metrics, engine, given)
      assert.is_false(ok)
      assert.is_truthy(problem:find("metrics_spec", 1, true) or problem:find("^gdnmeta.metrics: "))
      assert.is_truthy(problem:find("gdnmeta.metrics: " .. message, 1, true), problem)
    end
    assert.has_error(function() gdn.metrics {} end, "gdnmeta.metrics: want an engine of gdn.engine")
    local metrics = assert(gdn.metrics(engine))
    assert.has_error(function() return metrics.txt end, "gdnmeta.Metrics: no field txt")
    assert.has_error(function() metrics.text() end, "gdnmeta.Metrics:text: call it with a colon")
    assert.are.equal("text/plain; version=0.0.4; charset=utf-8", metrics.content_type)
    engine:close()
  end)

  it("allocate nothing in a step #jit", function()
    local engine = engine_of { max_model_len = 2 ^ 29, stopwatch = function() return 0 end }
    assert(gdn.metrics(engine))
    for id = 1, 4 do
      assert(engine:submit { id = id, prompt_tokens = 1, max_tokens = 2 ^ 28, class = "c" .. id })
    end
    local function run(steps)
      for n = 1, steps do engine:complete(engine:step(n), n + n % 7 / 8) end
    end
    run(2000)
    local grown = growth(function() run(20000) end)
    assert.is_true(grown < 16, ("grew %.1f KB over 20000 steps"):format(grown))
    engine:close()
  end)
end)
