-- A hook that fails spoils its policy's plan as a whole: the step is the built-in policy's, and nothing of
-- what the hook did not say is taken for an answer.
local serve = require "spec.support.run_engine"

local function no() error "no idea" end

-- One step with a decode that has drafts, a prompt under way, and two that wait.
local function step_of(policy)
  local engine = serve.engine({}, { max_model_len = 200 },
                              { num_speculative_tokens = 2, max_num_batched_tokens = 48 })
  engine:submit(serve.request("decode", { prompt_tokens = 5, max_tokens = 50 }))
  engine:complete(engine:step(0), 0)
  engine:submit(serve.request("prompt", { prompt_tokens = 60 }))
  engine:complete(engine:step(1), 1)
  engine:submit(serve.request("waits", { prompt_tokens = 9 }))
  engine:submit(serve.request("too", { prompt_tokens = 90 }))
  if policy then assert(engine:set_policy(policy)) end
  local step = assert(engine:step(2))
  local rows = {}
  for row = 0, step.num_rows - 1 do
    rows[row + 1] = { step:id(row), step.query_len[row], step.drafts[row] }
  end
  local seen = { rows = rows, rejected = step.rejected, preempted = step.preempted, admitted = step.admitted }
  return seen, step.fallback, engine
end

describe("A policy that fails in", function()
  local built_in, _, first = step_of(nil)
  first:close()

  for hook, policy in pairs { admit = { admit = no }, chunk = { chunk = no }, key = { key = no },
                              drafts = { drafts = no }, step = { step = no } } do
    for _, decode_first in ipairs(hook == "step" and { false } or { true, false }) do
      it(hook .. (decode_first and ", decodes first" or "") .. " gets the built-in plan", function()
        policy.decode_first = decode_first or nil
        local seen, fallback, engine = step_of(policy)
        assert.are.same(built_in, seen)
        assert.is_true(fallback)
        local failure = engine:failures()[1]
        assert.are.same({ hook, 1 }, { failure.hook, engine.stats.fallbacks })
        assert.matches("no idea", failure.message, 1, true)
        engine:close()
      end)
    end
  end
end)

describe("A policy that was disabled", function()
  it("is not asked for the keys of those that come then", function()
    local asked = 0
    local engine = serve.engine({ key = function()
      asked = asked + 1
      return asked > 1 and 0 / 0 or 1
    end }, { breaker = 2 })
    for id = 1, 3 do
      assert(engine:submit(serve.request(id)))
      assert(engine:complete(assert(engine:step(id)), id))
    end
    assert.is_false(engine.policy_enabled)
    local before = asked
    assert(engine:submit(serve.request "late"))
    assert.are.same({ before, engine.stats.failures }, { asked, #engine:failures() })
    engine:close()
  end)
end)
