-- Stretches of text: how many tokens of a request's text a step takes, and what the next step owes it.
-- Functions return false or nil when the policy failed: the plan is then thrown away.
local preempt = require "gdnmeta.engine.decide.preempt"
local piece = require("gdnmeta.native.trace_cuts").piece

local huge, max, min = math.huge, math.max, math.min

local PATIENCE = 16 -- steps that a request which the policy held is not owed anything

local M = {}

--- Decodes left too little for request i: in the next step they leave it its share. Not where prompts before
-- it would take what they leave, nor twice in a row, so that each decode runs in every second step at least.
function M.starve(e, i)
  local plan, held = e.plan, e.requests.held[i]
  if max(plan.starved, e.starved_before) >= 0 or plan.is_cut then return end
  if held > 0 and e.step_number - held <= PATIENCE then return end
  local by_decodes = plan.budget - plan.prefill_taken - plan.tokens_left
  if by_decodes > 0 and e.token_limits:least(i) <= plan.tokens_left + by_decodes then plan.starved = i end
end

local function too_short(e, hooks, i, n)
  local message = ("chunk gives %d tokens, want 0 or at least ctx.chunk_multiple = %d"):format(n, e.block)
  hooks.guard:fail("chunk", message, nil, e.requests.id[i])
end

-- What the policy would give it in a step that has given nothing yet: less than a block is a mistake then,
-- for it would never run. One request per step is tried.
local function most_of(e, hooks, i, rest, limit)
  local plan = e.plan
  local taken, left = plan.prefill_taken, plan.tokens_left
  if plan.is_tried then return huge end
  plan.is_tried = true
  if taken == 0 then return limit end
  plan.prefill_taken, plan.tokens_left = 0, plan.budget
  limit = hooks:chunk(i, rest)
  plan.prefill_taken, plan.tokens_left = taken, left
  return limit
end

-- Those of `limit` tokens that fit; nil: less than it can take. A function of its own, for what calls a hook
-- is not compiled.
local function cut_to(e, i, rest, limit)
  local plan, limits = e.plan, e.token_limits
  local n = limits:chunk(i, limit, plan.tokens_left)
  if n == 0 and limit < limits:least(i) then return nil end
  local wanted = min(limit, rest, limits.limit)
  if wanted > plan.tokens_left then
    if n < limits:share(i, e.max_num_batched_tokens) then M.starve(e, i) end
    plan.is_cut = true
  end
  return n
end

--- Tokens that the policy gives a chunk that something fits of; nil: the policy failed.
---@return integer|nil n
function M.size(e, hooks, i)
  local limits, r = e.token_limits, e.requests
  local rest = r.known[i] - r.computed[i]
  if not limits.chunked then return rest end
  local limit = hooks:chunk(i, rest)
  if not limit or limit < 1 then return limit end
  local n = cut_to(e, i, rest, limit)
  if n then return n end
  limit = most_of(e, hooks, i, rest, limit)
  if limit and limit < limits:least(i) then too_short(e, hooks, i, limit) end
  if not limit or limit < limits:least(i) then return nil end
  return 0
end

--- The next chunk of a running prompt.
---@return boolean ok
M.take = piece(function(e, hooks, i)
  local plan = e.plan
  if e.token_limits:chunk(i, plan.tokens_left, plan.tokens_left) == 0 then
    M.starve(e, i)
    return true
  end
  local n = M.size(e, hooks, i)
  if not n then return false end
  if n < 1 then return true end
  while not plan:put_chunk(i, n) do
    local todo = preempt.make(e, hooks, i, e.requests.computed[i] + n, 0)
    if todo ~= "again" then return todo end
  end
  return true
end)

return M
