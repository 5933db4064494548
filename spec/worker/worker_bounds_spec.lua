-- What a worker says where its engine does not fit, where a step cannot be packed, and what its host may look
-- at between two steps.
local gdn = require "gdnmeta"
local hosts = require "spec.support.worker_host"
local packs = require "gdnmeta.worker.pack"

local echo = { forward = function(_, _, tokens) return tokens end }

describe("A worker at its bounds", function()
  local engine
  before_each(function() engine = hosts.engine() end)
  after_each(function() engine:close() end)

  it("is none of an engine whose accepted counts are on a device", function()
    engine.private.device_accepted = true
    local results = { gdn.worker { engine = engine, model = echo } }
    engine.private.device_accepted = false
    assert.are.same({ nil, "the engine's accepted counts are on a device", gdn.EINVAL }, results)
  end)

  it("has these options if it is not told others", function()
    local worker = assert(gdn.worker { engine = engine, model = echo })
    local o = worker.private.options
    assert.are.same({ 60, 600, "rerun", 0, 0 },
      { o.deadline, o.start_deadline, o.on_death, o.seed, o.vocab_size })
    worker:close()
  end)

  it("is none where no record can be made", function()
    local refused = stub(packs, "new", function() return nil, "no record" end)
    local results = { gdn.worker { engine = engine, model = echo } }
    refused:revert()
    assert.are.same({ nil, "no record", gdn.EINVAL }, results)
  end)

  it("says why a step cannot be packed, and knows nothing of the tables from then on", function()
    local worker = assert(gdn.worker { engine = engine, model = echo })
    local pack, forgotten = worker.private.pack, 0
    local step_of, forget, problem = pack.step, pack.forget, pack.problem
    function pack.forget(self)
      forgotten = forgotten + 1
      return forget(self)
    end
    function pack.problem() return "why" end
    assert(engine:submit { id = 1, prompt_tokens = 5, max_tokens = 3 })
    local step = assert(engine:step(0))
    for status = -3, -1 do
      function pack.step() return status end
      assert.are.same({ nil, "step 1: why", status }, { worker:submit(step) })
      assert.are.same({ 4 + status, 0 }, { forgotten, worker.in_flight })
    end
    pack.step, pack.forget, pack.problem = step_of, forget, problem
    for k = 0, 4 do worker.tokens[k] = k end
    assert.is_true(worker:submit(step))
    assert.are.equal(1, worker.in_flight)
    assert.are.equal(3, forgotten)
    local result = assert(worker:poll())
    assert.are.same({ step, 1, 1, 0 }, { result.step, result.number, result.num_rows, worker.in_flight })
    assert.are.same({ false, false }, worker.private.sent)
    worker:close()
  end)

  it("holds the steps that it has been sent, and no others", function()
    local both = hosts.engine({ num_speculative_tokens = 0 }, { async = true })
    local worker = assert(gdn.worker { engine = both, model = echo })
    assert(both:submit { id = 1, prompt_tokens = 5, max_tokens = 9 })
    local steps = {}
    for k = 1, 2 do
      steps[k] = assert(both:step(0))
      for t = 0, 4 do worker.tokens[t] = k == 1 and t or -1 end
      assert(worker:submit(steps[k]))
      assert.are.same({ steps[1], steps[2] or false }, worker.private.sent)
    end
    for k = 1, 2 do
      assert.are.equal(steps[k], assert(worker:poll()).step)
      assert.are.same({ steps[k + 1] or false, false }, worker.private.sent)
      assert.are.equal(2 - k, worker.in_flight)
      both:complete(steps[k], 1)
    end
    assert.are.same({}, { worker:poll() })
    worker:close()
    both:close()
  end)
end)
