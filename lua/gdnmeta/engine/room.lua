-- Who has to go when a running request cannot get what its next tokens need.
local plans = require "gdnmeta.plan"

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
  plan.makes_room = true
  return victim == i and "skip" or "again"
end

return M
