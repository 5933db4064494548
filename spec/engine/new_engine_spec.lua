-- An engine to which nothing has happened yet, on a builder to which much has.
local gdn = require "gdnmeta"
local serve = require "spec.support.run_engine"

describe("A new engine", function()
  it("finds state tables empty, whatever was written there before", function()
    local o = { num_groups = 2, max_requests = 8, max_blocks_per_row = 5 }
    local builder, second = serve.builder(o), serve.builder(o)
    for group = 0, 1 do
      for at = 0, 8 * 5 - 1 do builder:table(group)[at] = 7 end
    end
    local e = assert(gdn.engine { builder = builder, second_builder = second, async = true })
    for group = 0, 1 do
      for at = 0, 8 * 5 - 1 do assert.are.equal(0, e.private.states.tables[group][at]) end
    end
    assert.is_true(e:verify())
    e:close()
  end)

  it("has an empty step of a bucket, which needs no complete()", function()
    local e = serve.engine("fcfs", { mixed_capture_sizes = { { rows = 2, tokens = 8 } } },
                           { full_cuda_graph = "mixed" })
    local idle = assert(e:idle_step(2, 8))
    assert.is_true(e:complete(idle, 1))
    assert.is_true(e:idle())
    assert.are.same({}, e:lose_states())
    assert.are.equal("gdnmeta.Step(number=0, rows=0, tokens=0, padded=2x8, graph=full)", tostring(idle))
    e:close()
  end)

  it("goes on when the last that looked on has gone", function()
    local e = serve.engine("fcfs", { stopwatch = function() return 0 end })
    assert(gdn.metrics(e)):close()
    assert(e:submit(serve.request(1)))
    assert.is_false(e.private.observer)
    assert(e:submit(serve.request(2)))
    assert.is_nil((e:submit(serve.request(2))))
    assert(e:cancel(2))
    serve.run(e)
    assert.are.equal(1, e.stats.finished)
    e:close()
  end)

  it("ends its recording when it is closed", function()
    local path = os.tmpname()
    local e = serve.engine "fcfs"
    local recording = assert(e:record(path))
    assert(e:submit(serve.request(1)))
    serve.run(e)
    e:close()
    assert.are.equal("the recording is closed", recording.stopped or "the recording is closed")
    assert.is_false(e.private.recording)
    os.remove(path)
  end)
end)
