-- Which rows of a step are speculative.
local serve = require "spec.support.run_engine"

local request = serve.request

describe("Speculation", function()
  it("marks a decode without drafts as a speculative row beside one that has some", function()
    local engine = serve.engine("fcfs", nil, { num_speculative_tokens = 2 })
    engine:submit(request(1, { max_tokens = 20 }))
    engine:submit(request(2, { max_tokens = 20 }))
    engine:complete(engine:step(0), 0, { [1] = { next_drafts = 2 }, [2] = { next_drafts = 0 } })
    local step = engine:step(1)
    assert.are.same({ 2, 0 }, { step.drafts[0], step.drafts[1] })
    assert.are.equal(2, step.metadata.num_spec_decodes)
    engine:complete(step, 1, { [1] = { accepted_drafts = 2, next_drafts = 0 }, [2] = { next_drafts = 0 } })
    step = engine:step(2) -- no row drafts, and kernels apply what the last step accepted all the same
    assert.are.same({ 0, 0 }, { step.drafts[0], step.drafts[1] })
    assert.are.equal(2, step.metadata.num_spec_decodes)
    assert.are.equal(1, step.metadata.uniform_spec_sequence_length)
    assert.are.same({ 2, 0 }, { step.read_column[0], step.read_column[1] })
    assert.are.same({ 2, 0 }, step.metadata.spec_conv_shift:totable())
    engine:close()
  end)

  it("is none before a request has had a draft, nor after its states are computed again", function()
    local evicts = false
    local engine = serve.engine(function(view, plan)
      for i in view:running() do
        if evicts then plan:preempt(i) end
      end
      plan:fill()
    end, nil, { num_speculative_tokens = 2 })
    engine:submit(request(1, { max_tokens = 20 }))
    local undrafted = { [1] = { next_drafts = 0 } }
    engine:complete(engine:step(0), 0, undrafted)
    local step = engine:step(1)
    assert.are.same({ -1, 0 }, { step.drafts[0], step.metadata.num_spec_decodes })
    engine:complete(step, 1, { [1] = { next_drafts = 1 } })
    step = engine:step(2)
    assert.are.equal(1, step.drafts[0])
    engine:complete(step, 2, undrafted)
    step = engine:step(3)
    assert.are.equal(0, step.drafts[0])
    engine:complete(step, 3, undrafted)
    evicts = true
    assert.are.same({ 1 }, engine:step(4).preempted)
    evicts = false
    step = engine:step(4)
    assert.are.equal(-1, step.drafts[0])
    engine:complete(step, 4, undrafted)
    step = engine:step(5)
    assert.are.same({ 1, -1 }, { step.query_len[0], step.drafts[0] })
    engine:close()
  end)
end)
