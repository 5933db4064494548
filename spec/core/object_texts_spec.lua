-- What tostring says of every object of the library, open and closed, word for word.
local gdn = require "gdnmeta"
local recordings = require "spec.support.recordings"
local serve = require "spec.support.run_engine"

describe("tostring #lua", function()
  local path
  before_each(function() path = os.tmpname() end)
  after_each(function() os.remove(path) end)

  local function builder() return serve.builder { max_rows = 4 } end

  -- { what, make: object and how it is closed, text while open, text after }
  local OBJECTS = {
    { "a builder", function()
      local b = builder()
      return b, function() b:close() end
    end, "gdnmeta.Builder(device=cpu, rules=strict, max_rows=4, max_num_batched_tokens=64)",
      "gdnmeta.Builder(device=cpu, rules=strict, max_rows=4, max_num_batched_tokens=64, closed)" },
    { "a batch", function()
      local batch = assert(builder():batch())
      return batch, function() batch:close() end
    end, "gdnmeta.Batch: 0 of 4 rows, 0 tokens", "gdnmeta.Batch(closed)" },
    { "metadata", function()
      local b = builder()
      return assert(b:build(assert(b:batch()))), function() b:close() end
    end, "gdnmeta.Metadata: step 1, 0 rows, 0 tokens", "gdnmeta.Metadata(closed)" },
    { "a tensor", function()
      local b = builder()
      local batch = assert(b:batch())
      b:set_blocks(0, 0, { 1 })
      batch:push(0, 3, 3, false)
      return assert(b:build(batch)).non_spec_query_start_loc, function() b:close() end
    end, "int32[2] {0, 3}", "int32[2] (closed)" },
    { "a tensor of an earlier step", function()
      local b = builder()
      local batch = assert(b:batch())
      b:set_blocks(0, 0, { 1 })
      batch:push(0, 3, 3, false)
      return assert(b:build(batch)).non_spec_query_start_loc, function() b:build(batch) end
    end, "int32[2] {0, 3}", "int32[2] (stale)" },
    { "an engine", function()
      local e = serve.engine "fcfs"
      e:submit(serve.request(1))
      return e, function() e:close() end
    end, "gdnmeta.Engine(policy=fcfs, 0 running, 1 waiting, 0 in flight)",
      "gdnmeta.Engine(policy=fcfs, 0 running, 1 waiting, 0 in flight, closed)" },
    { "metrics", function()
      local e = serve.engine "fair"
      return assert(gdn.metrics(e)), function() e:close() end
    end, "gdnmeta.Metrics(gdnmeta.Engine(policy=fair, 0 running, 0 waiting, 0 in flight))",
      "gdnmeta.Metrics(gdnmeta.Engine(policy=fair, 0 running, 0 waiting, 0 in flight, closed))" },
    { "a step", function()
      local e = serve.engine "fcfs"
      e:submit(serve.request(1))
      return assert(e:step(0)), function() e:close() end
    end, "gdnmeta.Step(number=1, rows=1, tokens=10, padded=1x10, graph=eager)",
      "gdnmeta.Step(number=1, rows=1, tokens=10, padded=1x10, graph=eager)" },
    { "a step of the built-in policy", function()
      local e = serve.engine({ key = function() error "broken" end }, { on_policy_error = "fallback" })
      for id = 1, 2 do e:submit(serve.request(id)) end -- a key is asked for where there is a choice
      return assert(e:step(0)), function() e:close() end
    end, "gdnmeta.Step(number=1, rows=2, tokens=20, padded=2x20, graph=eager, fallback)",
      "gdnmeta.Step(number=1, rows=2, tokens=20, padded=2x20, graph=eager, fallback)" },
    { "a policy", function()
      return assert(gdn.policy { name = "mine", key = function() return 1 end }), function() end
    end,
      "gdnmeta.Policy(mine)", "gdnmeta.Policy(mine)" },
    { "a trusted policy", function()
      return assert(gdn.policy { name = "mine", trusted = true }), function() end
    end, "gdnmeta.Policy(mine, trusted)", "gdnmeta.Policy(mine, trusted)" },
  }
  for _, case in ipairs(OBJECTS) do
    it("names " .. case[1], function()
      local object, close = case[2]()
      local open = tostring(object)
      close()
      assert.are.same({ case[3], case[4] }, { open, tostring(object) })
    end)
  end

  -- The size of a recording is that of its file at that moment.
  local function text(steps, rest)
    return ("gdnmeta.Recording(%s, %d steps, %d bytes%s)"):format(path, steps, #recordings.read(path), rest)
  end

  it("names a recording that runs, and one that was closed", function()
    local e = recordings.engine()
    local recording = assert(e:record(path))
    assert.are.equal(text(0, ""), tostring(recording))
    recordings.serve(e, 2)
    assert.are.equal(text(2, ""), tostring(recording))
    assert(recording:close())
    assert.are.equal(text(2, ", closed"), tostring(recording))
    e:close()
    assert.are.equal(text(2, ", closed"), tostring(recording))
  end)

  it("names a recording that stopped, and why", function()
    local e = recordings.engine()
    local recording = assert(e:record(path, { max_bytes = 2000 }))
    recordings.serve(e, 9)
    local why = "max_bytes = 2000 reached before step " .. recording.steps + 1
    assert.are.equal(text(recording.steps, ", stopped: " .. why), tostring(recording))
    assert.are.same({ nil, why }, { recording:close() })
    assert.are.equal(text(recording.steps, ", stopped: " .. why), tostring(recording))
    e:close()
  end)
end)
