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

-- Prompts of which each leaves a state that another has to leave for.
local function crowded(cache)
  local e = serve.caching_engine({ cache = cache, breaker = 99, host_slots = cache.demote and 3 or 0 },
                                 { num_slots = 8 })
  for id = 1, 8 do
    assert(e:submit(serve.request(id, { prompt_tokens = 18, max_tokens = 1, arrival = id,
                                        blocks = { 1, 2, id % 3 + 10, 100 + id } })))
    while not e:idle() do assert(e:complete(assert(e:step(id)), id)) end
  end
  local failed, _, never = #e:failures(), e.cache:health()
  e:close()
  return failed, never
end

describe("A cache's hook that fails", function()
  local ANSWERS = {
    checkpoints = function(r) return { r.prompt_end } end, keep = function() return true end,
    demote = function() return "host" end,
    worth = function(_, n, values)
      for k = 1, n do values[k] = k end
    end,
  }
  for hook, answer in pairs(ANSWERS) do
    it("is told apart from one that has answered once: " .. hook, function()
      for _, answers in ipairs { 0, 1 } do
        local calls = 0
        local failed, never = crowded { name = "c", [hook] = function(...)
          calls = calls + 1
          if calls > answers then error("no idea", 0) end
          return answer(...)
        end }
        assert.are.equal(calls - answers, failed)
        assert.is_true(failed > 0)
        assert.are.same(answers == 0 and { [hook] = failed } or {}, never)
      end
    end)
  end
end)
