-- Whose plan stands, by schedule.lua, against the same said in one piece: the policy's, the built-in one, or
-- none. What policies, plans and their proof answer is drawn, and every call is noted in order.
local drawer = require "spec.support.drawer"
local packer = require "gdnmeta.engine.decide.packer"
local schedule = require "gdnmeta.engine.decide.schedule"
local verify_plan = require "gdnmeta.engine.decide.verify_plan"

local BREAKER, STEP = 3, 40

local function world(case)
  local draw, log = drawer(16807 * case + 31), {}
  local function note(...) log[#log + 1] = table.concat({ ... }, " ") end
  local plan = { num_victims = draw(5) == 1 and 1 or 0, num_rejects = draw(5) == 1 and 1 or 0,
                 num_held = draw(4) - 1 }
  local guard = { disabled = draw(6) == 1, breaker = BREAKER, failed = draw(2) == 1 }
  local e = { plan = plan, requests = { id = { [7] = "seven" } }, num_running = draw(3) - 1,
              max_num_seqs = draw(6), max_num_batched_tokens = 64, fifo = { size = draw(3) - 1 },
              slots_coming = draw(3), kv_coming = draw(3), token_limits = {},
              changes = draw(2) - 1, in_flight = draw(3) == 1 and 1 or 0, held_steps = draw(4) - 1, log = log,
              align = draw(2) == 1, block = 8, running = {}, step_number = STEP, heard = 5, policy_view = {},
              policy_plan = {}, obeys_holds = "as before", stats = { fallbacks = 2 },
              hooks = { guard = guard, policy = { step = draw(2) == 1 or nil } },
              states = { free_table_rows = draw(6) - 1, free_kv = 9, free_slots = function() return 5 end } }
  e.queue = draw(2) == 1 and {} or nil
  function e.token_limits:begin(running, n, size)
    assert(self == e.token_limits and running == e.running)
    note("limits", n, size)
  end
  return e, draw, note
end

-- The parts that are called: by the engine itself, or by the model.
local function parts_of(e, draw, note)
  local guard, is_empty = e.hooks.guard, true
  function e.plan.begin(_, ...) note("begin", ...) end
  function e.plan.close() note "close" end
  function e.plan.is_empty() return is_empty end
  function guard:fail(hook, message, stack, id)
    note("fail", hook, message, tostring(stack), tostring(id))
    self.failed = true
  end
  function guard.raise_failure() note "raise" end
  function e.hooks.full(_, view, plan)
    assert(view == e.policy_view and plan == e.policy_plan)
    note "full"
    is_empty = draw(2) == 1
    return draw(5) > 1
  end
  return {
    fill = function(given, hooks, queue)
      assert(given == e)
      note("fill", hooks == packer.BUILT_IN and "built-in" or hooks == e.hooks and "policy" or "?",
           queue == e.fifo and "fifo" or queue == e.queue and "queue" or "?", tostring(e.obeys_holds))
      is_empty = draw(2) == 1
      return draw(5) > 1
    end,
    problem = function(given)
      assert(given == e)
      note "problem"
      local n = draw(8)
      if n == 1 then return "I5, it is wrong", 7 end
      if n == 2 then return "I3, it is wrong" end
    end,
  }
end

local function begin(e, note)
  note("limits", e.num_running, e.fifo.size)
  e.plan:begin(64, math.min(e.max_num_seqs - e.num_running, e.states.free_table_rows), 5, 9, e.slots_coming,
               e.kv_coming)
end

local function built_in(e, note, parts)
  e.obeys_holds = not e.hooks.guard.disabled
  begin(e, note)
  parts.fill(e, packer.BUILT_IN, e.fifo)
  e.plan:close()
end

-- Does the policy's plan stand?
local function by_policy(e, note, parts)
  local guard, policy, plan = e.hooks.guard, e.hooks.policy, e.plan
  begin(e, note)
  local ok
  if policy.step then
    ok = e.hooks:full(e.policy_view, e.policy_plan)
  else
    ok = parts.fill(e, e.hooks, e.queue or e.fifo)
  end
  if not ok then return false end
  plan:close()
  local problem, i = parts.problem(e)
  local others = plan.num_victims == 0 and plan.num_rejects == 0 and e.in_flight == 0
  local idle = not problem and plan:is_empty() and others and (e.num_running > 0 or e.fifo.size > 0)
  if idle and e.num_running == 0 and plan.num_held >= (policy.step and e.fifo.size or 1) then
    e.held_steps = e.held_steps + 1
    if e.held_steps == BREAKER then
      local failed = guard.failed
      guard:fail("plan", ("I24, progress: nothing is scheduled in 3 steps, the policy holds all %d requests "
                          .. "that it was asked about"):format(plan.num_held))
      guard.failed = failed
    end
    return true
  end
  e.held_steps = 0
  if idle then
    built_in(e, note, parts)
    if plan:is_empty() then return true end
    problem = "I24, progress: nothing is scheduled, though requests could run"
      .. (e.align and "; a chunk takes multiples of ctx.chunk_multiple = 8" or "")
  end
  if problem then
    guard:fail("plan", problem, nil, i and "seven")
    return false
  end
  if policy.step then e.heard = STEP end
  return true
end

local function plan_model(e, note, parts)
  if not e.hooks.guard.disabled and by_policy(e, note, parts) then return false end
  e.hooks.guard:raise_failure()
  built_in(e, note, parts)
  local problem = parts.problem(e)
  if problem then return "gdnmeta.engine: internal: " .. problem end
  e.stats.fallbacks = e.stats.fallbacks + 1
  return true
end

local function state(e)
  return { e.held_steps, e.heard, e.obeys_holds, e.stats.fallbacks, e.hooks.guard.failed }
end

describe("A step's plan", function()
  local fill, problem = packer.fill, verify_plan.problem
  after_each(function() packer.fill, verify_plan.problem = fill, problem end)

  it("is the policy's where it is legal, and else the built-in policy's", function()
    local seen = {}
    for case = 1, 4000 do
      local e, draw, note = world(case)
      local parts = parts_of(e, draw, note)
      packer.fill, verify_plan.problem = parts.fill, parts.problem
      local ok, got = pcall(schedule.plan, e)
      local its, its_draw, its_note = world(case)
      local want = plan_model(its, its_note, parts_of(its, its_draw, its_note))
      assert.are.same({ want, type(want) == "string", its.log, state(its) }, { got, not ok, e.log, state(e) },
                      "case " .. case)
      seen[tostring(got)] = true
    end
    assert.is_true(seen["true"] and seen["false"] and seen["gdnmeta.engine: internal: I3, it is wrong"])
  end)
end)
