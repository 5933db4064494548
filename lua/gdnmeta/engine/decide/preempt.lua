-- Who has to go when a running request cannot get what its next tokens need, or when one that waits matters
-- more than those that run.
local plans = require "gdnmeta.engine.plan"

local PREEMPTED = plans.PREEMPTED

local M = {}

-- Scores by name; the highest is evicted, of equals the one that was admitted last.
local KINDS = {
  last = function() return 0 end,
  least_computed = function(r, i) return -r.computed[i] end,
  most_computed = function(r, i) return r.computed[i] end,
}

local function score(e, hooks)
  local policy = hooks.policy
  if policy.victim then return hooks:scores(e.running, e.num_running) end
  local kind, r = KINDS[policy.victim_kind or "last"], e.requests
  for at = 0, e.num_running - 1 do
    local i = e.running[at]
    r.score[i] = kind(r, i)
  end
  return true
end

local function next_victim(e)
  local r, victim = e.requests, nil
  for at = 0, e.num_running - 1 do
    local i = e.running[at]
    if r.mark[i] ~= PREEMPTED and (not victim or r.score[i] >= r.score[victim]) then victim = i end
  end
  return victim
end

--- Make room for a running request that the pools have too little left for. A request that would be its
-- own victim leaves, or waits where a step in flight still has something of its to give back.
---@return string|boolean verdict "again", "skip", or false where the policy failed
function M.make(e, hooks, i, tokens, drafts)
  local plan = e.plan
  if plan.admitted > 0 then -- I21; the next step begins with those that run
    plan.is_short, plan.is_hungry = true, true
    return "skip"
  end
  if plan:is_coming(i, tokens, drafts) then
    plan.is_short = true
    return "skip"
  end
  if plan.num_victims == 0 and not score(e, hooks) then return false end
  local victim = next_victim(e)
  if victim == i and e.requests.flight[i] > 0 then
    plan.is_short = true
    return "skip"
  end
  plan:preempt(victim)
  plan.frees_memory = true
  return victim == i and "skip" or "again"
end

local function may_leave(e, at, bound)
  local r, i = e.requests, e.running[at]
  return r.score[i] > bound and r.yielded[i] < e.preempt_limit
end

-- Who leaves for the waiting request i, in e.leaving: the highest scores above `bound`, as few as suffice.
-- 0 where those that left before suffice, nil where all of them would not.
local function leavers(e, i, n, bound)
  local plan, r, states, gone = e.plan, e.requests, e.states, 0
  local rows = e.max_num_seqs - e.num_running - plan.admitted
  local slots, kv = plan.slots_left + plan.slots_coming, plan.kv_left + plan.kv_coming
  local spare = states.limited and plan:kv_spare() + plan.kv_coming or math.huge
  local free, upkeep = plan.slots_free + plan.slots_coming, plan.upkeep
  local others = e.num_running + plan.admitted
  while rows < 1 or not plan:would_fit(i, n, slots, kv, gone < others and spare or math.huge)
    or gone < others and not upkeep:suffices(i, n, free) do
    local worst
    for at = 0, e.num_running - 1 do
      local other = e.running[at]
      if may_leave(e, at, bound) and r.yields[other] ~= e.step_number
        and (not worst or r.score[other] >= r.score[worst]) then
        worst = other
      end
    end
    if not worst then return nil end
    r.yields[worst], e.leaving[gone] = e.step_number, worst
    local planned_slots, planned_kv = plan:taken(worst)
    local held = states:held_slots(worst)
    rows, slots, free = rows + 1, slots + held + planned_slots, free + held
    upkeep:leave(worst)
    local blocks = states:held_kv(worst)
    kv = kv + blocks + planned_kv
    spare = spare + blocks + plan:kv_growth(worst)
    gone = gone + 1
  end
  return gone
end

-- Can a request be evicted for request i? With static scores, not checked again until other requests run.
local function has_leavers(e, policy, i, bound)
  for at = 0, e.num_running - 1 do
    if may_leave(e, at, bound) then return true end
  end
  if policy.scores_stay then e.claimant, e.claim_roster = e.requests.tie[i], e.roster end
  return false
end

--- Evict running requests for one that waits and does not fit, if the policy says so.
---@return boolean ok false: the policy failed
function M.claim(e, hooks, i, n)
  local plan, policy, r = e.plan, hooks.policy, e.requests
  if not policy.preempt_for or plan.num_victims > 0 or plan.has_passed then return true end
  if plan.admitted > 0 and not e.admit_after_preemption then return true end
  if e.claimant == r.tie[i] and e.claim_roster == e.roster then return true end
  local bound = hooks:bound(i)
  if not bound or not score(e, hooks) then return false end
  if not has_leavers(e, policy, i, bound) then return true end
  local gone = leavers(e, i, n, bound) or 0
  plan.upkeep:forget()
  for k = 0, gone - 1 do plan:preempt(e.leaving[k]) end
  plan.gives_way = gone > 0
  return true
end

return M
