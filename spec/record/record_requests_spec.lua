-- What recordings say of requests, against an onlooker in random traffic; why each of them waited; and how
-- gdnmeta inspect --request tells it.
local gdn = require "gdnmeta"
local play = require "spec.support.random_traffic"
local programs = require "spec.support.program"
local waiting_reasons = require "gdnmeta.record.waiting_reasons"
local recordings = require "spec.support.recordings"
local request_events = require "gdnmeta.record.request_events"

local CASES = math.ceil((tonumber(os.getenv "GDN_CASES") or 2000) / 40)
local SHIPPED = { "fcfs", "decode_first", "priority", "shortest_prefill", "fair", "deadline" }

local WORDS = waiting_reasons.WORDS

describe("A recording's requests", function()
  local path
  before_each(function() path = os.tmpname() end)
  after_each(function() os.remove(path) end)

  -- Events of each request as an onlooker sees them, in order: "came", "started 3", "preempted", "stop"
  local function onlooker(engine)
    local seen = {}
    local function note(id, what)
      seen[id] = seen[id] or {}
      table.insert(seen[id], what)
    end
    local opts = { engine = engine, cancel = 0.05, checkpoints = false }
    function opts.on_submit(r) note(r.id, "came") end
    function opts.on_cancel(id) note(id, "cancelled") end
    function opts.on_step(step)
      for _, id in ipairs(step.preempted) do note(id, "preempted") end
      for _, id in ipairs(step.admitted) do note(id, "started " .. step.number) end
    end
    function opts.on_complete(step)
      for row = 0, step.num_rows - 1 do
        if step.finish[row] > 0 then note(step:id(row), step.finish[row] == 1 and "stop" or "length") end
      end
    end
    return seen, opts
  end

  -- The same, from a file; and every waiting request has a reason in every step.
  local function from_file(where)
    local seen, waiting, last = {}, {}, nil
    local STATES = { came = "new", preempted = "new" }
    local function follow(news, number)
      for k, id in ipairs(news.who or {}) do
        local did = news.did[k]
        seen[id] = seen[id] or {}
        table.insert(seen[id], did == "started" and "started " .. number or did)
        waiting[id] = STATES[did]
      end
    end
    local function look(step, number)
      follow(step, number)
      for k, id in ipairs(step.waits or {}) do
        assert(waiting[id], where .. ": a reason of one who does not wait")
        waiting[id] = step.why[k]
      end
      local n = 0
      for id, why in pairs(waiting) do
        assert(why ~= "new", ("%s: no reason for %s"):format(where, id))
        n = n + 1
      end
      if step.waiting then assert.are.equal(step.waiting, n, where) end
    end
    local function use(step, reader)
      last = reader
      assert.are.equal(#step.query_len, #step.ids, where)
      look(step, step.step)
    end
    local _, missing, message = recordings.walk(path, use, function(line) look(line, line.empty) end)
    assert(not missing and not message, message or missing)
    if last and last.after then follow(last.after) end
    return seen
  end

  it("are what an onlooker saw, in random traffic", function()
    local seed = tonumber(os.getenv "GDN_SEED") or os.time() % 2 ^ 24
    for case = seed, seed + CASES - 1 do
      math.randomseed(case)
      local where, c = ("GDN_SEED=%d"):format(case), play.configuration()
      c.async = case % 3 == 0
      local engine = play.engine(c, SHIPPED[case % #SHIPPED + 1])
      local recording = assert(engine:record(path))
      local seen, opts = onlooker(engine)
      opts.where, opts.requests = where, play.requests(c, math.random(1, 40))
      play.run(c, opts)
      assert.is_true(recording:close())
      assert.is_false(engine.private.observer)
      local found = from_file(where)
      for id, list in pairs(seen) do
        assert.are.same(list, found[id], ("%s request %s"):format(where, id))
      end
      engine:close()
    end
  end)

  it("are there beside metrics, and both go on without the other", function()
    local e = recordings.engine()
    local metrics = assert(gdn.metrics(e))
    local recording = assert(e:record(path))
    recordings.serve(e, 3)
    metrics:close()
    recordings.serve(e, 2, 10)
    recording:close()
    local arrived = 0
    recordings.walk(path, function(step)
      for _, did in ipairs(step.did or {}) do arrived = arrived + (did == "came" and 1 or 0) end
    end)
    assert.are.equal(5, arrived)
    assert.is_truthy(metrics:text():find("gdnmeta_requests_arrived_total{class=\"\"} 3", 1, true))
    e:close()
  end)

  it("have ids that are bounded, and numbers with all their digits", function()
    local id = request_events.id
    assert.are.same({ 7, "x", "9007199254740991", ("y"):rep(197) .. "..." },
      { id(7), id "x", id(2 ^ 53 - 1), id(("y"):rep(2 ^ 20)) })
  end)
end)

describe("Why a request waits", function()
  -- Submits what is given, runs steps, and returns the reason of request "w" in the last one.
  local function reason(options, builder, list, steps)
    local e = recordings.engine(options, builder)
    for _, r in ipairs(list) do
      r.max_tokens = r.max_tokens or 50
      assert(e:submit(r))
    end
    for now = 1, steps or 1 do
      local step = assert(e:step(now))
      if now == (steps or 1) then break end
      assert(e:complete(step, now))
    end
    local i = e.private.requests.index.w
    assert.are.equal("waiting", e:request "w".state)
    local why = waiting_reasons.of(e.private, i)
    e:close()
    return why
  end
  local function prompt(id, n, more)
    local r = { id = id, prompt_tokens = n }
    for name, value in pairs(more or {}) do r[name] = value end
    return r
  end

  it("is what the engine ran out of", function()
    local two = { prompt(1, 10), prompt("w", 10) }
    assert.are.equal("seats", reason({ max_num_seqs = 1 }, nil, two))
    assert.are.equal("budget", reason({}, nil, { prompt(1, 100), prompt("w", 10) }))
    assert.are.equal("whole", reason({ chunked_prefill = false, max_model_len = 60 }, nil,
      { prompt(1, 40, { max_tokens = 9 }), prompt("w", 40, { max_tokens = 9 }) }))
    assert.are.equal("kv", reason({ kv_tokens = 208, kv_block_size = 16 }, nil,
      { prompt(1, 30), prompt("w", 190, { max_tokens = 2 }) }))
    assert.are.equal("slots", reason({}, { num_slots = 2, num_groups = 1 }, two))
    local align = { mamba_cache_mode = "align", mamba_block_size = 48, max_blocks_per_row = 8,
                    num_slots = 40 }
    assert.are.equal("align", reason({}, align, { prompt(1, 48), prompt("w", 100) }))
  end)

  it("is the policy, where that said so", function()
    local function skip(view, plan)
      for i in view:waiting() do
        if view:request(i).id == "w" then plan:skip(i) end
      end
      plan:fill()
    end
    local holds = { skip, { admit = function(r) return r.id ~= "w" end },
                    { chunk = function(r, want) return r.id == "w" and 0 or want end } }
    for _, policy in ipairs(holds) do
      assert.are.equal("held", reason({ policy = policy }, nil, { prompt(1, 10), prompt("w", 10) }, 2))
    end
  end)

  it("is that others need the memory first", function()
    local e = recordings.engine({ kv_tokens = 96, kv_block_size = 16, max_model_len = 90,
                                  kv_headroom = 0 })
    for id = 1, 3 do assert(e:submit { id = id, prompt_tokens = 28, max_tokens = 40 }) end
    local seen, now = {}, 0
    while not e:idle() do
      now = now + 1
      local step = assert(e:step(now))
      local i = e.private.fifo.head
      while i >= 0 do
        seen[waiting_reasons.of(e.private, i)] = true
        i = e.private.requests.next[i]
      end
      assert(e:complete(step, now))
    end
    assert.is_true(e.stats.preemptions > 0)
    assert.is_true(seen.preempting and (seen.kv or seen.tight))
    e:close()
  end)
end)

describe("gdnmeta inspect --request", function()
  local program, path
  setup(function()
    program = programs.new()
    path = program.folder .. "/steps.jsonl"
    local e = recordings.engine({ max_num_seqs = 2 }, { max_num_batched_tokens = 32 })
    local recording = assert(e:record(path))
    assert(e:submit { id = "a", prompt_tokens = 70, max_tokens = 6 })
    assert(e:submit { id = "b", prompt_tokens = 40, max_tokens = 30 })
    assert(e:submit { id = 17, prompt_tokens = 20, max_tokens = 6 })
    for now = 1, 20 do
      if now == 12 then e:cancel "b" end
      local step = assert(e:step(now))
      if step.num_rows > 0 then assert(e:complete(step, now)) end
    end
    recording:close()
    e:close()
  end)
  teardown(function() program.close() end)

  it("tells a request's story", function()
    local out, err, status = program.run("inspect " .. path .. " --request 17")
    assert.are.same({ "", 0 }, { err, status })
    assert.are.equal([[
       1                    1.000  came into the queue
       1 .. 2               1.000  waited 2 steps: ]] .. WORDS.budget .. [[; place 2 of 2 by arrival
       3 .. 8               3.000  waited 6 steps: ]] .. WORDS.seats .. [[; place 1 of 1 by arrival
       9                    9.000  started
       9                    9.000  20 tokens of text, up to 20
      10 .. 14             10.000  5 decodes, up to token 25
      14                   14.000  finished: it came to its length
]], out)
    out = program.run("inspect " .. path .. " --request b")
    assert.matches("\n +12 +12%.000  cancelled\n$", out)
    assert.matches("\n +5 %.%. 11 +5%.000  7 decodes, up to token 47\n", out)
  end)

  -- Runs that many steps from step 1 on, at 0 s, half a second each; returns what is told of "w".
  local function story(policy, list, n)
    local e = recordings.engine({ policy = policy })
    local file = program.folder .. "/story.jsonl"
    local recording = assert(e:record(file))
    for k = 1, n do
      for _, r in ipairs(list[k] or {}) do
        r.arrival = 0.5 * (k - 1)
        assert(e:submit(r))
      end
      local step = assert(e:step(0.5 * (k - 1)))
      if step.num_rows > 0 then assert(e:complete(step, 0.5 * k)) end
    end
    assert(recording:close())
    e:close()
    local out, err, status = program.run("inspect " .. file .. " --request w")
    assert.are.same({ "", 0 }, { err, status })
    return out
  end

  it("tells of steps in which nothing ran, also of those in which nothing changed", function()
    local ADMIT = { admit = function(r, ctx) return r.id ~= "w" or ctx.step > 5 end }
    local w = { id = "w", prompt_tokens = 9, max_tokens = 2 }
    local held = "waited %d steps: " .. WORDS.held .. "; place %s of %d by arrival\n"
    assert.are.equal([[
       1                    0.000  came into the queue
       1 .. 5               0.000  ]] .. held:format(5, "1", 1) .. [[
       6                    2.500  started
       6                    2.500  9 tokens of text, up to 9
       7                    3.000  1 decode, up to token 10
       7                    3.000  finished: it came to its length
]], story(ADMIT, { { w } }, 9))
    assert.are.equal([[
       2                    0.500  came into the queue
       2 .. 5               0.500  ]] .. held:format(4, "1", 1) .. [[
       6                    2.500  started
       6                    2.500  9 tokens of text, up to 9
       7                    3.000  1 decode, up to token 10
       7                    3.000  finished: it came to its length
]], story(ADMIT, { [2] = { w }, [3] = { { id = "b", prompt_tokens = 5, max_tokens = 1 } } }, 7))
    local none = { admit = function(r) return r.id ~= "w" end }
    assert.are.equal(("%8d %24.3f  came into the queue\n       1 .. 50 %18.3f  %s%33s  waiting when the "
      .. "recording ended\n"):format(1, 0, 0, held:format(50, "1", 1), ""), story(none, { { w } }, 50))
    local _, lines = recordings.read(program.folder .. "/story.jsonl"):gsub("\n", "")
    assert.are.equal(4, lines) -- header, the first step, what came after it, end
  end)

  it("is found by an id that is recorded without its end", function()
    local e, long, file = recordings.engine(), ("x"):rep(500), program.folder .. "/long.jsonl"
    local recording = assert(e:record(file))
    assert(e:submit { id = long, prompt_tokens = 3, max_tokens = 1 })
    assert(e:complete(assert(e:step(0)), 1))
    recording:close()
    e:close()
    local out, err, status = program.run("inspect " .. file .. " --request " .. long)
    assert.are.same({ "", 0 }, { err, status })
    assert.matches("finished", out)
  end)

  it("says what it cannot tell", function()
    local _, err, status = program.run("inspect " .. path .. " --request nobody")
    assert.are.same({ ('gdnmeta: %s has no request "nobody"\n'):format(path), 2 }, { err, status })
    _, err, status = program.run "inspect fuzz/corpus/recording/steps --request 1"
    local old = "gdnmeta: fuzz/corpus/recording/steps: recorded as version 1, which has no request ids\n"
    assert.are.same({ old, 2 }, { err, status })
    _, err, status = program.run("inspect " .. path .. " --request 1 --step 2")
    assert.are.same({ "gdnmeta: --step and --request exclude each other\n", 2 }, { err, status })
  end)

  it("tells nothing that a terminal would obey", function()
    local text = recordings.read(path):gsub('"did":%["length"%]', '"did":["\\u001b[2J"]')
    local out, _, status = program.run("inspect " .. program.write("bad.jsonl", text) .. " --request 17")
    assert.are.equal(0, status)
    assert.is_nil(out:gsub("\n", ""):find "%c")
    assert.matches("  [?\\][27]*%[2J\n$", out)
  end)
end)
