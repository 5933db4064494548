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
