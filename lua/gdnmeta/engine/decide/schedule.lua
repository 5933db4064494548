-- A step's plan: the policy's, if it runs and what it says is legal; else the built-in policy's.
local packer = require "gdnmeta.engine.decide.packer"
local verify_plan = require "gdnmeta.engine.decide.verify_plan"
local rules = require "gdnmeta.engine.decide.rules"
local plan_is_empty = require("gdnmeta.native.trace_cuts").joint()

local M = {}

local function begin(e)
  local states = e.states
  e.token_limits:begin(e.running, e.num_running, e.fifo.size)
  local seqs = math.min(e.max_num_seqs - e.num_running, states.free_table_rows)
  e.plan:begin(e.max_num_batched_tokens, seqs, states:free_slots(), states.free_kv, e.slots_coming,
               e.kv_coming)
  plan_is_empty()
end

-- A request that the policy held at its last call stays held, until the policy is disabled.
local function built_in(e)
  e.obeys_holds = not e.hooks.guard.disabled
  begin(e)
  packer.fill(e, packer.BUILT_IN, e.fifo)
  e.plan:close()
end

-- I24: an empty plan, though nothing is under way that could change that.
local function is_idle(e)
  local plan = e.plan
  return plan:is_empty() and plan.num_victims + plan.num_rejects + e.in_flight == 0
    and e.num_running + e.fifo.size > 0
end

-- Nothing runs because the policy held every request: that is allowed, but it is reported.
local function note_held(e)
  local guard = e.hooks.guard
  e.held_steps = e.held_steps + 1
  if e.held_steps ~= guard.breaker then return end
  local failed = guard.failed
  guard:fail("plan", ("%snothing is scheduled in %d steps, the policy holds all %d requests that it was "
                      .. "asked about"):format(rules.I24, e.held_steps, e.plan.num_held))
  guard.failed = failed
end

-- Nothing runs, and the policy admitted nothing. A policy of whole steps must hold each waiting request.
local function holds_all(e, policy)
  return e.num_running == 0 and e.plan.num_held >= (policy.step and e.fifo.size or 1)
end

-- Whole blocks are what a policy forgets that was tried in mode none.
local function idle_problem(e)
  local hint = e.align and ("; a chunk takes multiples of ctx.chunk_multiple = %d"):format(e.block) or ""
  return rules.I24 .. "nothing is scheduled, though requests could run" .. hint
end

-- The policy's plan stands; false: it does not, and why has been recorded.
local function by_policy(e)
  local hooks, policy = e.hooks, e.hooks.policy
  begin(e)
  local ok
  if policy.step then
    ok = hooks:full(e.policy_view, e.policy_plan)
  else
    ok = packer.fill(e, hooks, e.queue or e.fifo)
  end
  if not ok then return false end
  e.plan:close()
  local problem, i = verify_plan.problem(e)
  local idle = not problem and is_idle(e)
  if idle and holds_all(e, policy) then
    note_held(e)
    return true
  end
  e.held_steps = 0
  if idle then
    built_in(e)
    if e.plan:is_empty() then return true end
    problem = idle_problem(e)
  end
  if not problem then
    if policy.step then e.heard = e.step_number end
    return true
  end
  hooks.guard:fail("plan", problem, nil, i and e.requests.id[i])
  return false
end

--- Fill and prove e.plan.
---@return boolean fallback
function M.plan(e)
  local guard = e.hooks.guard
  if not guard.disabled and by_policy(e) then return false end
  guard:raise_failure()
  built_in(e)
  local problem = verify_plan.problem(e)
  if problem then error("gdnmeta.engine: internal: " .. problem, 0) end
  e.stats.fallbacks = e.stats.fallbacks + 1
  return true
end

return M
