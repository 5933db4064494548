-- Decodes of a step: which running requests decode, with how many drafts, and what they leave for prompts.
-- Every decode gets its own token before any gets a draft.
local preempt = require "gdnmeta.engine.decide.preempt"

local min, max = math.min, math.max

local M = {}

--- Drafts that each running request may use, in the column `allowed`: those proposed, or what the policy
--- leaves of them.
---@return boolean ok false: the policy failed
function M.limit(e, hooks)
  local policy, r, running = hooks.policy, e.requests, e.running
  if e.num_spec == 0 then
    if e.has_paused then
      for at = 0, e.num_running - 1 do r.allowed[running[at]] = 0 end
      e.has_paused = false
    end
    return true
  end
  local limit = policy.drafts_limit or e.num_spec
  e.has_paused = false
  for at = 0, e.num_running - 1 do
    local i = running[at]
    r.allowed[i] = min(r.drafts[i], limit)
  end
  return not policy.drafts or hooks:drafts(running, e.num_running)
end

--- Split the running list: decodes into e.items, others into e.work, both in order. Without a branch: a
--- loop that sees both kinds would be compiled for whichever came first.
---@return integer num_decodes, integer num_chunks
function M.split(e)
  local r, running, decodes, chunks = e.requests, e.running, e.items, e.work
  local known, placeholders, computed, prompt = r.known, r.placeholders, r.computed, r.prompt
  local num_decodes, num_chunks = 0, 0
  for at = 0, e.num_running - 1 do
    local i = running[at]
    local rest = max(known[i] + placeholders[i] - computed[i] - 1, prompt[i] - computed[i])
    local is_chunk = min(max(rest, 0), 1)
    decodes[num_decodes], chunks[num_chunks] = i, i
    num_decodes, num_chunks = num_decodes + 1 - is_chunk, num_chunks + is_chunk
  end
  return num_decodes, num_chunks
end

-- Tokens that decodes leave in this step: the share of a prompt that they left less to in the last one.
local function reserve(e)
  local i, limits = e.starved_before, e.token_limits
  if i < 0 or not limits:wants_text(i) then return 0 end
  return min(limits:share(i, e.max_num_batched_tokens), e.plan.tokens_left)
end

-- Tokens of n decodes with at most `most` drafts each, and how many of the decodes run at all.
local function tokens_with(e, n, most)
  local r, limits, tokens, count = e.requests, e.token_limits, 0, 0
  for k = 0, n - 1 do
    local i = e.items[k]
    if r.mark[i] == 0 and limits:may_run(i) then
      tokens, count = tokens + 1 + min(r.allowed[i], most), count + 1
    end
  end
  return tokens, count
end

-- Leave out `count` of `running` decodes, others in every step.
local function pause(e, n, running, count)
  local r, limits, at = e.requests, e.token_limits, 0
  local first = e.pause_turn % running
  for k = 0, n - 1 do
    local i = e.items[k]
    if r.mark[i] == 0 and limits:may_run(i) then
      if (at - first) % running < count then r.allowed[i] = -1 end
      at = at + 1
    end
  end
  e.pause_turn, e.has_paused = (first + count) % running, true
end

--- Cut drafts, evenly, and then pause decodes until they leave what is reserved for a prompt.
function M.trim(e, n)
  local kept = reserve(e)
  local most, cap = e.num_spec, e.plan.tokens_left - kept
  if n * (1 + most) <= cap then return end
  local tokens, running = tokens_with(e, n, most)
  while most > 0 and tokens > cap do
    most = most - 1
    tokens = tokens_with(e, n, most)
  end
  local r = e.requests
  for k = 0, n - 1 do
    local i = e.items[k]
    if r.allowed[i] > most then r.allowed[i] = most end
  end
  if tokens > cap then pause(e, n, running, running - cap) end
end

--- One decode with as many drafts as it may use. It drops some before a request is evicted for a slot.
---@return boolean ok
function M.take(e, hooks, i)
  local plan, drafts = e.plan, e.token_limits:drafts(i, e.requests.allowed[i], e.plan.tokens_left)
  if drafts < 0 then return true end
  local ok, why = plan:put_decode(i, drafts, drafts > 0)
  while not ok do
    if why == "slots" and drafts > 0 then
      drafts = drafts - 1
    else
      local todo = preempt.make(e, hooks, i, e.requests.computed[i] + 1 + drafts, drafts)
      if todo ~= "again" then return todo end
    end
    ok, why = plan:put_decode(i, drafts, drafts > 0)
  end
  return true
end

--- Those that paused for a prompt, as far as tokens are left in the end: it may have found no memory.
---@return boolean ok
function M.resume(e, hooks)
  local r = e.requests
  for at = 0, e.num_running - 1 do
    local i = e.running[at]
    if r.allowed[i] < 0 and r.mark[i] == 0 then
      r.allowed[i] = 0
      if not M.take(e, hooks, i) then return false end
    end
  end
  return true
end

--- The first n of e.items.
---@return boolean ok
function M.take_all(e, hooks, n)
  local r, limits, items = e.requests, e.token_limits, e.items
  for k = 0, n - 1 do
    local i = items[k]
    if r.mark[i] == 0 and limits:may_run(i) and not M.take(e, hooks, i) then return false end
  end
  return true
end

return M
