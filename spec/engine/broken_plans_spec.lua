-- The proof of a plan, invariant by invariant: a plan that was just filled is spoilt, and the engine must say
-- by which number it is not legal, plan the step again, and serve every request to the end.
local serve = require "spec.support.run_engine"

local AGAIN = { "a", "b", "c" }

-- Serve three requests of 20 tokens; `spoil(plan, engine)` is tried on each plan until it says true. The
-- failures that were recorded.
local function failures_of(spoil, options, of_builder, policy)
  local engine = serve.engine(policy or "decode_first", options, of_builder)
  local plan, is_spoilt = engine.private.plan, false
  local close = plan.close
  function plan.close(self)
    close(self)
    if not is_spoilt then is_spoilt = spoil(plan, engine) or false end
  end
  for _, id in ipairs(AGAIN) do assert(engine:submit(serve.request(id, { prompt_tokens = 20 }))) end
  local now, drafts = 0, { next_drafts = engine.num_spec }
  while not engine:idle() do
    local step, results = assert(engine:step(now)), {}
    now = now + 1
    for row = 0, step.num_rows - 1 do results[step:id(row)] = drafts end
    engine:complete(step, now, results)
    assert.is_true(now < 200, "does not come to an end")
  end
  assert.is_true(is_spoilt, "the plan was never spoilt")
  assert.are.same({ 3, 0 }, { engine.stats.finished, engine:slots().used })
  local failures = engine:failures()
  engine:close()
  return failures
end

local function add_chunk(plan, i, n)
  plan.chunks[plan.num_chunks], plan.tokens[plan.num_chunks] = i, n
  plan.num_chunks = plan.num_chunks + 1
  return true
end

local function add_victim(plan, i)
  plan.victims[plan.num_victims] = i
  plan.num_victims = plan.num_victims + 1
  return true
end

-- The first chunk of a plan takes `more` tokens than it should.
local function lengthen(more)
  return function(plan)
    if plan.num_chunks == 0 then return false end
    plan.tokens[0] = plan.tokens[0] + more
    return true
  end
end

local function of_index(engine, id) return engine.private.requests.index[id] end

local SPECULATIVE, ALIGN = { num_speculative_tokens = 2 },
  { mamba_cache_mode = "align", mamba_block_size = 8, max_blocks_per_row = 8 }

-- What is spoilt, how, options of the engine, options of the builder, the policy.
local CASES = {
  I1 = { "a request twice", function(plan) return add_chunk(plan, plan.chunks[0], 1) end },
  I2 = { "no token", function(plan)
    plan.tokens[0] = 0
    return true
  end },
  I3 = { "more tokens than the budget", lengthen(1), { max_num_batched_tokens = 16 } },
  I4 = { "more requests than may run", function(plan, e) return add_chunk(plan, of_index(e, "b"), 1) end,
         { max_num_seqs = 1 } },
  I5 = { "tokens that are not known yet", lengthen(1) },
  I6 = { "drafts beyond the longest sequence", function(plan, e)
    if plan.num_decodes == 0 or e.private.requests.drafts[plan.decodes[0]] < 2 then return false end
    plan.drafts[0] = 2
    return true
  end, { max_model_len = 23 }, SPECULATIVE },
  I7 = { "drafts that were not proposed", function(plan, e)
    if plan.num_decodes == 0 then return false end
    plan.drafts[0] = e.private.requests.drafts[plan.decodes[0]] + 1
    return true
  end, nil, SPECULATIVE },
  I9 = { "a chunk above the threshold", lengthen(1), { long_prefill_token_threshold = 8 } },
  I10 = { "a prompt in two chunks", lengthen(-1), { chunked_prefill = false } },
  I11 = { "a chunk that ends within a block", lengthen(-1), { max_model_len = 60 }, ALIGN },
  I13 = { "more slots than are free", function(plan, e) return add_chunk(plan, of_index(e, "b"), 1) end, nil,
          { num_slots = 2 } },
  I21 = { "an admission beside a preemption", function(plan, e)
    return plan.num_chunks > 0 and e.private.num_running > 0 and add_victim(plan, e.private.running[0])
  end, nil, nil, function(view, plan)
    for i in view:waiting() do
      if plan:admit(i) then return end
    end
    plan:fill()
  end },
  I22 = { "a victim that is scheduled", function(plan)
    return plan.num_decodes > 0 and add_victim(plan, plan.decodes[0])
  end },
  I24 = { "nothing", function(plan, e)
    plan:begin(e.private.max_num_batched_tokens, e.private.max_num_seqs, 0, 0, 0, 0)
    return true
  end },
}

describe("A plan that is not legal is refused by number:", function()
  for number, case in pairs(CASES) do
    it(("%s, %s"):format(number, case[1]), function()
      local failures = failures_of(case[2], case[3], case[4], case[5])
      assert.are.equal(1, #failures)
      assert.are.equal("plan", failures[1].hook)
      assert.matches("^" .. number .. ", %l[%l ]+: ", failures[1].message)
    end)
  end

  it("I4, a chunk of no request", function()
    local failures = failures_of(function(plan) return add_chunk(plan, 3, 1) end) -- three requests: 0 .. 2
    assert.matches("^I4, running requests: ", failures[1].message)
  end)

  it("I13, more attention cache than is free", function()
    local failures = failures_of(function(plan, e) return add_chunk(plan, of_index(e, "b"), 20) end,
                                 { kv_tokens = 32, kv_block_size = 8 })
    assert.matches(
      "^I13, memory: the plan needs 6 blocks of attention cache, 4 are free", failures[1].message)
  end)

  it("I22, a victim that waits", function()
    local failures = failures_of(function(plan, e) return add_victim(plan, of_index(e, "c")) end,
                                 { max_num_seqs = 1 })
    assert.matches("^I22, victims: request c is preempted", failures[1].message)
  end)
end)
