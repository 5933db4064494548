-- A fork, or an export, of a request whose step is in flight begins with what that step read, in mode align:
-- a state that a row with drafts has left, too, whose conv window is shifted by those that it accepted.
local serve = require "spec.support.run_engine"

local TEXT = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 }

local function engine()
  local b = { num_speculative_tokens = 1, mamba_cache_mode = "align", mamba_block_size = 4, num_slots = 30,
              max_blocks_per_row = 20 }
  return serve.engine("fcfs", { hash_block_size = 4, max_model_len = 60, async = true,
                                second_builder = serve.builder(b) }, b)
end

-- An answer leaves the state of its first 8 tokens, by a row that accepts its draft.
local function leave_answer(e)
  assert(e:submit { id = "first", prompt_tokens = 6, max_tokens = 4, tokens = { unpack(TEXT, 1, 6) } })
  assert(e:complete(assert(e:step(1)), 1)) -- up to the end of a block
  assert(e:complete(assert(e:step(1)), 1, { first = { tokens = { 7 }, next_drafts = 1 } }))
  local step = assert(e:step(2))
  assert.are.same({ 2, 8, 1 }, { step.query_len[0], step.seq_len[0], step.drafts[0] })
  assert(e:complete(step, 2, { first = { tokens = { 8, 9 }, next_drafts = 0 } }))
  assert(e:complete(assert(e:step(3)), 3, { first = { tokens = { 10 } } }))
  assert.are.equal(2, e:cached().states) -- of the prompt, and of the answer
end

-- Another begins there; its step is in flight.
local function begin_second(e)
  assert(e:submit { id = "second", prompt_tokens = 12, max_tokens = 9, tokens = TEXT })
  local step = assert(e:step(4))
  assert.are.same({ 4, 12, 2 }, { step.query_len[0], step.seq_len[0], step.last_accepted[0] })
  return step
end

local function first_row_of(e, step, id)
  assert(e:complete(step, 5))
  step = assert(e:step(6))
  for row = 0, step.num_rows - 1 do
    if step:id(row) == id then return step.last_accepted[row], step.seq_len[row] - step.query_len[row] end
  end
end

describe("A request whose first step is in flight, and reads a state that a row with drafts left", function()
  it("is forked with that state as it is", function()
    local e = engine()
    leave_answer(e)
    local step = begin_second(e)
    assert(e:fork("second", { id = "fork" }))
    assert.are.same({ 2, 8 }, { first_row_of(e, step, "fork") })
    assert.is_true(e:verify())
    e:close()
  end)

  -- The method, and the field of submit that takes what it returns.
  for method, field in pairs { export = "slot", checkpoint = "checkpoint" } do
    it("gives " .. method .. " that state as it is", function()
      local e = engine()
      leave_answer(e)
      local step = begin_second(e)
      local state = assert(e[method](e, "second"))
      assert(e:submit { id = "other", prompt_tokens = 12, max_tokens = 2, [field] = state })
      e:release(state)
      assert.are.same({ 2, 8 }, { first_row_of(e, step, "other") })
      assert.is_true(e:verify())
      e:close()
    end)
  end
end)
