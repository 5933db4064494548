-- Runs at the bounds of their options, and what stops one before it begins: against spec/goldens/texts.
local by_class = require "gdnmeta.sim.by_class"
local counters = require "gdnmeta.sim.counters"
local gdn = require "gdnmeta"
local noted = require "spec.support.noted"
local raises = require "spec.support.raises"
local summary = require "gdnmeta.sim.summary"
local timeline = require "gdnmeta.sim.timeline"

local sim = gdn.sim
local notes = noted.new "run-bounds-"
local note, check = notes.note, notes.check

-- Every step takes 20 ms.
local function run(opts)
  local o = { preset = "constant-20ms", measure = false, num_groups = 1 }
  for name, value in pairs(opts) do o[name] = value end
  return sim.run(o)
end

local function list(values)
  local parts = {}
  for k = 1, #values do parts[k] = values[k] and ("%.9g"):format(values[k]) or "-" end
  return table.concat(parts, " ")
end

describe("At its bounds a run #lua", function()
  before_each(notes.clear)

  it("serves what is as long as a sequence may be, and no more", function()
    for prompt = 57, 61 do
      for output = 1, 3 do
        for _, known in ipairs { false, true } do
          local most = "none"
          local r = assert(run { max_model_len = 60, known_lengths = known,
            requests = { { arrival = 0, prompt = prompt, output = output },
                         { arrival = 0, prompt = 1, output = 9 } }, trusted = true,
            policy = { admit = function(q)
              if q.prompt_tokens == prompt then most = q.max_tokens end
              return true
            end } })
          note("of 60:", prompt, output, known, "max_tokens", most, r.finished, r.rejected, r.emitted,
            r.rejection)
        end
      end
    end
    check "lengths"
  end)

  it("asks again at once after a step that only preempted or rejected", function()
    for _, how in ipairs { "preempt", "reject", "both", "neither" } do
      local asked = 0
      local r = assert(run { trusted = true, max_num_seqs = 1, requests = {
          { arrival = 0, prompt = 5, output = 3 },
          { arrival = 0.001, prompt = 5, output = 3 }, { arrival = 0.5, prompt = 5, output = 1 } },
        policy = { step = function(view, plan)
          asked = asked + 1
          if asked ~= 3 then return plan:fill() end
          for i in view:waiting() do
            if how == "reject" or how == "both" then plan:reject(i, "no") else plan:skip(i) end
          end
          for i in view:running() do
            if how == "preempt" or how == "both" then plan:preempt(i) elseif how == "neither" then
              plan:take(i)
            end
          end
        end } })
      note(how, asked, r.steps, r.finished, r.rejected, r.preemptions, "e2e", list(r.per_request.e2e),
        "queue", list(r.per_request.queue))
    end
    check "asked-again"
  end)

  it("goes on with a session whose turn was turned away", function()
    for _, closed in ipairs { true, false } do
      for long = 1, 3 do
        local requests = {}
        for i = 1, 4 do
          requests[i] = { arrival = i / 10, prompt = i == long and 90 or 5, output = i, session = "s",
                          think = i > 1 and 0.5 or nil, after = nil }
        end
        for i = 2, 4 do requests[i].after = requests[i - 1] end
        local r = assert(run { requests = requests, closed_loop = closed, max_model_len = 60 })
        note("turn", closed, long, r.finished, r.rejected, "arrivals", list(r.per_request.arrival), "e2e",
          list(r.per_request.e2e))
      end
    end
    check "sessions"
  end)

  it("takes an acceptance model that is a function", function()
    for accepted = 0, 3 do
      local seen = {}
      local r = assert(run { num_speculative_tokens = 3,
        requests = { { arrival = 0, prompt = 5, output = 12 } },
        acceptance = function(ordinal)
          return function(drafts, context)
            seen[#seen + 1] = ("%d:%d/%d"):format(ordinal, drafts, context)
            return math.min(accepted, drafts)
          end
        end })
      note("accepts", accepted, r.steps, r.emitted, r.speculation, table.concat(seen, " "))
    end
    check "accepted"
  end)

  it("is not begun where its builder or its engine is refused, and the caller is named", function()
    local one = { { arrival = 0, prompt = 5, output = 1 } }
    for _, o in ipairs { { num_slots = 2, max_num_seqs = 8 },
                         { mamba_cache_mode = "align", num_slots = 2 }, { host_slots = 1 },
                         { cache = true }, { cache = "nope" }, { policy = "nope" },
                         { cost = { nope = 1 } }, { preset = "nope" }, { acceptance = { mean = 1.5 } },
                         { acceptance = print } } do
      o.requests = one
      local results = { pcall(run, o) }
      note("with", o, results[1], type(results[2]) == "table" and "runs" or results[3] or results[2])
    end
    for _, name in ipairs { "builder", "engine" } do
      local refused = stub(gdn, name, function() return nil, "no " .. name end)
      local results = { pcall(run, { requests = one, async = true }) }
      refused:revert()
      assert.are.same({ true, nil, "no " .. name }, results)
    end
    check "refused"
  end)

  it("takes so many requests of a trace, after so many", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "wb"))
    file:write("arrival_s,prompt_tokens,output_tokens\n1,11,1\n2,12,1\n3,13,1\n4,14,1\n")
    file:close()
    for skip = 0, 4 do
      for limit = 1, 5 do
        local r, message = run { trace = path, skip = skip, limit = limit }
        local prompts = {}
        for i, request in ipairs(r and r.per_request.requests or {}) do prompts[i] = request.prompt end
        note("trace", skip, limit, r and table.concat(prompts, " ") or message:gsub("^[^:]*", "t"))
      end
    end
    os.remove(path)
    check "traces"
  end)

  it("takes so many requests of a list, after so many, each with its deadline", function()
    local given = {}
    for i = 1, 4 do given[i] = { arrival = 3 * i, prompt = 10 + i, output = 1, deadline = 3 * i + i } end
    for skip = 0, 4 do
      for limit = 1, 5 do
        local r, message = run { requests = given, skip = skip, limit = limit, rate = 0.5 }
        local parts = {}
        for i, request in ipairs(r and r.per_request.requests or {}) do
          parts[i] = ("%d at %g by %g"):format(request.prompt, request.arrival, request.deadline)
        end
        note("list", skip, limit, r and table.concat(parts, ", ") or message, r and r.setup.rate)
      end
    end
    check "lists"
  end)

  it("goes on with a session whose turn its policy turns away", function()
    for turned_away = 1, 3 do
      local requests = {}
      for i = 1, 3 do
        requests[i] = { arrival = i, prompt = i, output = 2, session = "s", think = i > 1 and 0.5 or nil,
                        after = requests[i - 1] }
      end
      local r = assert(run { requests = requests, closed_loop = true, trusted = true, policy = {
        step = function(view, plan)
          for i in view:waiting() do
            if view:request(i).id == turned_away then plan:reject(i, "no") end
          end
          plan:fill()
        end } })
      note("turned away", turned_away, r.finished, r.rejected, r.rejection, list(r.per_request.arrival))
    end
    check "turned-away"
  end)

  it("is reported alone and in a list of one", function()
    local one = assert(run { requests = { { arrival = 0, prompt = 5, output = 1 } } })
    assert.are.equal(sim.report { one }, sim.report(one))
  end)

  it("that is not begun names the caller of sim.run", function()
    local requests = { { arrival = 0, prompt = 5, output = 1 } }
    raises("sim.run: host_slots wants cache", function() sim.run { requests = requests, host_slots = 1 } end)
  end)

  it("ends a sweep if it is not made, with its reason", function()
    local request = { arrival = 0, prompt = 5, output = 1 }
    local o = { requests = { request, { arrival = 1, prompt = 5, output = 1 } }, cache = true }
    local results = { sim.run(o) }
    assert.is_nil(results[1])
    assert.are.same(results, { sim.sweep(o) })
    o.rates = { 1, 2 }
    assert.are.same(results, { sim.sweep(o) })
  end)

  it("measures its policy and its builds in microseconds of its own time", function()
    local r = assert(run { requests = { { arrival = 0, prompt = 5, output = 9 } }, measure = true })
    for _, name in ipairs { "policy_us", "build_us" } do
      assert.is_true(r.wall[name].p50 <= r.wall[name].p99 and r.wall[name].p99 > 0)
      assert.is_true(r.wall[name].p99 <= 1e6 * r.wall.seconds)
    end
  end)

  it("has a block of attention cache at least, and as many as are whole", function()
    local requests = { block_size = 16 }
    for i = 1, 3 do
      requests[i] = { arrival = i, prompt = 12 * i - 3, output = 2, blocks = {} }
      for k = 1, math.floor((12 * i - 3) / 16) do requests[i].blocks[k] = k end
    end
    for _, tokens in ipairs { 1, 15, 16, 31, 32, 47, 48, 0 } do
      local r = assert(run { requests = requests, cache = true, kv_tokens = tokens, kv_headroom = 0 })
      note("kv", tokens, r.finished, r.rejected, r.rejection)
    end
    check "kv"
  end)

  it("leaves alone what a list of requests raises", function()
    local requests = { setmetatable({}, { __index = function() error("boom", 0) end }) }
    local ok, message = pcall(sim.run, { requests = requests })
    assert.are.same({ false, "boom" }, { ok, message })
  end)

  it("has figures of a time of a nanosecond", function()
    for ended = 0, 3 do
      local requests = { { class = "a", prompt = 1 } }
      local t = counters.new(1, by_class.of(requests))
      t:arrive(1, requests[1], 0)
      t:admit(1, requests[1], 0)
      t:emit(1, 1, 0)
      t:finish(1, 0, 100, 100)
      t:close(ended)
      local figures = summary.figures(t, { budget = 1, slots = 1, stats = { scheduled = 1, discarded = 0 } })
      note("ended", ended, by_class.figures(t)[1].goodput, figures.seconds, figures.goodput, figures.busy)
    end
    check "short"
  end)

  it("has met its targets where a request of one token has no time per token", function()
    local t = counters.new(1)
    t:arrive(1, { prompt = 1 }, 0)
    t:admit(1, { prompt = 1 }, 0)
    t:emit(1, 1, 7)
    t:finish(1, 7, 7, 0)
    assert.are.equal(1, t.met)
  end)

  it("reads what was cached in every chunk of a prompt", function()
    local requests = { block_size = 16 }
    for i = 1, 4 do
      requests[i] = { arrival = i, prompt = 16 * 8 * i + 1, output = 2, blocks = {} }
      for k = 1, 8 * i do requests[i].blocks[k] = k end
    end
    for _, tokens in ipairs { 4096, 128 } do
      local r = assert(sim.run { requests = requests, cache = "last_block", cost = { c0 = 1, c_ctx = 0.01 },
        max_num_batched_tokens = tokens, measure = false })
      note("cached", tokens, table.concat(r.per_request.cached or {}, " "), "ttft", list(r.per_request.ttft),
        "e2e", list(r.per_request.e2e))
    end
    check "cached"
  end)

  it("has the middle and the 99th of a hundred of its own times", function()
    local t = counters.new(0)
    for k = 1, 100 do
      t.policy_us:add(k)
      t.build_us:add(2 * k)
    end
    t:close(1)
    local figures = summary.figures(t, { budget = 1, slots = 1, stats = { scheduled = 1, discarded = 0 } })
    local of = figures.wall.policy_us
    assert.are.same({ t.policy_us:percentile(50), t.policy_us:percentile(99) }, { of.p50, of.p99 })
    assert.is_true(math.abs(of.p50 - 50) <= 1 and math.abs(of.p99 - 99) <= 1 and of.p50 > 49.5)
    assert.are.same({ 2 * of.p50, 2 * of.p99 }, { figures.wall.build_us.p50, figures.wall.build_us.p99 })
  end)

  it("drawn over time has 240 bins, however long it lasts", function()
    local t = timeline.new({ "x" }, 1)
    for at = 0, 5000 do
      local bin = t:step(at)
      t.sums.x[bin] = t.sums.x[bin] + at
      if at % 479 < 2 then
        local steps, sum = 0, 0
        for k, n in pairs(t.steps) do
          assert.is_true(k >= 1 and k <= 240)
          steps = steps + n
        end
        for k, n in pairs(t.sums.x) do
          assert.is_true(k >= 1 and k <= 240)
          sum = sum + n
        end
        assert.are.same({ 240, 240, at + 1, at * (at + 1) / 2 }, { #t.steps, #t.sums.x, steps, sum })
        note(at, t.width, t.last, bin, #t:points())
      end
    end
    check "timeline"
  end)
end)
