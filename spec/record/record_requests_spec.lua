-- What recordings say of requests, against an onlooker in random traffic.
local gdn = require "gdnmeta"
local play = require "spec.support.random_traffic"
local recordings = require "spec.support.recordings"
local request_events = require "gdnmeta.record.request_events"

local CASES = math.ceil((tonumber(os.getenv "GDN_CASES") or 2000) / 40)
local SHIPPED = { "fcfs", "decode_first", "priority", "shortest_prefill", "fair", "deadline" }

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

  it("and steps, empty or not, have times that can be read again, whatever clock the host has", function()
    local e = recordings.engine { policy = { order = "fcfs", admit = function(r) return r.id ~= "held" end } }
    local recording = assert(e:record(path))
    for n, now in ipairs { -1e300, -2 ^ 53 - 2, -2 ^ 53, 0.5, 2 ^ 53, 2 ^ 53 + 2, 1e300 } do
      if n == 1 then assert(e:submit { id = "held", prompt_tokens = 3, max_tokens = 1, arrival = now }) end
      if n % 2 == 0 then assert(e:submit { id = n, prompt_tokens = 3, max_tokens = 1, arrival = now }) end
      assert(e:complete(assert(e:step(now)), now))
      assert(e:submit { id = -n, prompt_tokens = 3, max_tokens = 1, arrival = now })
      assert(e:cancel(-n))
    end
    assert(recording:close())
    local built, empty = {}, {}
    local n, missing, message = recordings.walk(path, function(step) built[#built + 1] = step.now end,
      function(step) empty[#empty + 1] = step.now end)
    assert.are.same({ 3, nil, nil }, { n, missing, message })
    assert.are.same({ -9e15, 0.5, 9e15 }, built)
    assert.are.same({ -9e15, -9e15, 9e15, 9e15 }, empty)
    e:close()
  end)

  it("have ids that are bounded, and numbers with all their digits", function()
    local id = request_events.id
    assert.are.same({ 7, "x", "9007199254740991", ("y"):rep(197) .. "..." },
      { id(7), id "x", id(2 ^ 53 - 1), id(("y"):rep(2 ^ 20)) })
  end)
end)
