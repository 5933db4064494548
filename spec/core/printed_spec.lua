-- What tables print as that the library hands to a host and that are no objects with methods: their class and
-- fields, against spec/goldens/texts; pairs() shows the fields alone.
local gdn = require "gdnmeta"
local golden = require "spec.support.golden"
local printed = require "gdnmeta.native.printed"
local recordings = require "spec.support.recordings"
local serve = require "spec.support.run_engine"
local show = require "gdnmeta.repl.show"

local RUN = { workload = { requests = 20 }, rate = 5 }

local function run(policy)
  local o = { policy = policy }
  for name, value in pairs(RUN) do o[name] = value end
  return assert(gdn.sim.run(o))
end

-- An engine that has served a request, whose cache and policy print what they see.
local function served(say)
  local engine = serve.caching_engine({
    kv_tokens = 400, kv_block_size = 4, on_policy_error = "fallback",
    cache = {
      checkpoints = function(r, _, _, ctx)
        say(r)
        say(ctx)
        return ctx.every(4)
      end,
      keep = function(node) say(node) return true end,
      worth = function(nodes, n, values)
        say(nodes[1])
        for k = 1, n do values[k] = nodes[k].created end
      end,
    },
  }, { num_slots = 6 })
  assert(engine:set_policy { name = "mine", step = function(view, plan)
    say(view)
    say(plan)
    say(view.cost)
    for i in view.waiting() do say(view.request(view, i)) end
    error("no plan", 0)
  end })
  assert(engine:submit { id = "a\n", prompt_tokens = 18, max_tokens = 2, blocks = { 1, 2, 3, 4 },
                         session = "s" })
  for now = 1, 2 do assert(engine:complete(assert(engine:step(now)), now)) end
  return engine
end

-- A reader and a step of what it reads.
local function read(say)
  local path = os.tmpname()
  local engine = recordings.engine()
  local recording = assert(engine:record(path))
  recordings.serve(engine, 2)
  recording:close()
  engine:close()
  local reader = assert(gdn.record.open(path))
  say(reader:next())
  say((tostring(reader):gsub(path, "<path>", 1)))
  reader:close()
  say((tostring(reader):gsub(path, "<path>", 1)))
  os.remove(path)
end

local function calibration()
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write "tokens_padded,prefill_tokens,seqs,ctx_sum,ms\n"
  for n = 1, 12 do file:write(("%d,0,%d,0,%d\n"):format(n, n, 5 + n)) end
  file:close()
  local fit = assert(gdn.sim.fit(path))
  os.remove(path)
  return fit
end

describe("What is no object with methods", function()
  it("prints as what it is, with its fields", function()
    local lines = {}
    local function say(value)
      local text = tostring(value)
      assert.is_nil(text:find "table: 0x", text)
      lines[#lines + 1] = text
    end
    say(gdn)
    say(gdn.sim)
    local engine = served(say)
    for _, value in ipairs { engine:slots(), engine:kv(), engine:cached(), engine:request "a\n",
                             engine:session "s", engine.stats, engine:failures()[1], engine.cache:stats(),
                             engine.cache:nodes()[1], engine.builder:counters() } do say(value) end
    engine:close()
    say(gdn.bucket(4, 64, { max_num_seqs = 4, max_num_batched_tokens = 64 }))
    say(gdn.reorder { decode_threshold = 1, num_scheduled = { 5, 1 }, num_computed = { 0, 1 },
                      num_prompt = { 5, 1 } })
    read(say)
    local fcfs = run "fcfs"
    say(fcfs)
    for _, part in pairs(gdn.sim.compare { fcfs, run "fair" }) do say(part) end
    say((tostring(calibration()):gsub("mape=[^)]*", "mape=...")))
    local preset = gdn.sim.presets.DEFAULT
    say(gdn.sim.presets.get(preset))
    say(gdn.sim.cost(preset))
    say(gdn.sim.lab.replay(gdn.sim.dialogues.generate { kind = "synthetic", sessions = 4 }, {
      checkpoints = function(r) say(r) return { r.prompt_end } end,
    }, { slots = 3 }))
    local layer = gdn.reference.layer { num_slots = 3, draw = function() return 0 end }
    say(layer)
    say(layer:sequence())
    golden("printed", table.concat(lines, "\n") .. "\n")
  end)

  it("is a table of its fields alone, and may be changed", function()
    local engine = serve.engine("fcfs", { kv_tokens = 64, kv_block_size = 4 })
    local slots, names = engine:slots(), {}
    for name in pairs(slots) do names[#names + 1] = name end
    table.sort(names)
    assert.are.same({ "churn", "free", "peak", "size", "used" }, names)
    slots.mine, slots.free, slots.used = 1, nil, setmetatable({}, { __tostring = error, __index = error })
    slots.peak = { {} }
    assert.are.equal(("gdnmeta.Slots(size=%d, used={}, peak=a list of 1, churn=0)"):format(slots.size),
                     tostring(slots))
    local own = {}
    assert.are.equal(own, serve.caching_engine().cache:stats(own))
    assert.is_nil(getmetatable(own))
    engine:close()
  end)

  it("is shown field by field at the prompt", function()
    local engine = serve.engine "fcfs"
    assert.matches("^  churn = 0\n  free = %d+\n  peak = 0\n  size = %d+\n  used = 0$",
                   show.text(engine:slots(), function(_, text) return text end))
    engine:close()
  end)

  it("has lines of at most 110 characters, and of a list the first elements", function()
    local t = { list = { 1, 2, 3, 4, 5, 6, 7, 8, "x" }, empty = {}, [1] = 7, map = { a = 1 } }
    assert.are.equal("T(empty={}, list={1, 2, 3, 4, 5, 6, 7, 8, ... 1 more}, map=a table)",
                     printed.text("T", t))
    assert.are.equal("T()", printed.text("T", {}))
    for n = 45, 52 do
      t = { a = ("x"):rep(n), b = ("y"):rep(49), c = ("z"):rep(60) }
      local text, longest = printed.text("T", t), 0
      for line in text:gmatch "[^\n]+" do longest = math.max(longest, #line) end
      assert.is_true(longest <= 110, text)
      assert.are.equal(n < 49 and 1 or 2, select(2, text:gsub("\n", "")), n .. "\n" .. text)
    end
  end)
end)
