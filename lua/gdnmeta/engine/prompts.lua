-- Stretches of text of a step: prompts under way and those that wait, in one order where the policy has a
-- key. Functions return false when the policy failed: the plan is then thrown away.
local room = require "gdnmeta.engine.room"

local min = math.min

-- What a step may look at in the queue beyond what it admits: a request that is held costs 1, one whose
-- chunk is 0 costs 4, for that may be all of them. 128 requests held, or 32 that get no token.
local LOOKS, ZERO_CHUNK = 128, 4
local PATIENCE = 16 -- steps that a request which the policy held is not owed anything

local M = {}

-- Decodes left too little for request i: in the next step they leave it its share. Not where prompts before
-- it would take what they leave, nor twice in a row, so that each decode runs in every second step at least.
local function starve(e, i)
  local plan, held = e.plan, e.requests.held[i]
  if plan.starved >= 0 or e.owed_to >= 0 or plan.is_cut then return end
  if held > 0 and e.step_number - held <= PATIENCE then return end
  local by_decodes = plan.budget - plan.prefill_taken - plan.tokens_left
  if by_decodes > 0 and e.sizing:least(i) <= plan.tokens_left + by_decodes then plan.starved = i end
end

local function too_short(e, hooks, i, n)
  hooks.guard:fail("chunk", ("chunk gives %d tokens, want 0 or at least ctx.block = %d"):format(n, e.block),
                   nil, e.requests.id[i])
end

-- Tokens that the policy gives a chunk that something fits of; nil: the policy failed.
local function chunk_of(e, hooks, i)
  local plan, sizing, r = e.plan, e.sizing, e.requests
  local rest = r.known[i] - r.computed[i]
  if not sizing.chunked then return rest end
  local limit = hooks:chunk(i, rest)
  if not limit or limit < 1 then return limit end
  local n = sizing:chunk(i, limit, plan.tokens_left)
  -- Less than a block for everybody in this step is a mistake; what is left of more than that is not.
  if n == 0 and plan.prefill_taken + limit < sizing:least(i) then
    too_short(e, hooks, i, limit)
    return nil
  end
  local wanted = min(limit, rest, sizing.limit)
  if wanted > plan.tokens_left then
    if n < wanted and n < sizing:share(i, e.max_num_batched_tokens) then starve(e, i) end
    plan.is_cut = true
  end
  return n
end

--- The next chunk of a running prompt.
---@return boolean ok
function M.take(e, hooks, i)
  local plan = e.plan
  if e.sizing:chunk(i, plan.tokens_left, plan.tokens_left) == 0 then
    starve(e, i)
    return true
  end
  local n = chunk_of(e, hooks, i)
  if not n then return false end
  if n < 1 then return true end
  while not plan:put_chunk(i, n) do
    local todo = room.make(e, hooks, i, e.requests.computed[i] + n, 0)
    if todo ~= "again" then return todo end
  end
  return true
end

-- Room that somebody left for is not given to the next of the queue, who would have to leave for it in turn:
-- nothing is admitted while a running request waits for room, nor, once somebody had to leave, before a
-- token came out. Until then the running ones only grow fewer, and the last of them emits, for any request
-- fits the pools alone: whoever the victims are, tokens keep coming (I24).
local function may_admit(e, hooks)
  local plan = e.plan
  if plan.num_victims > 0 and not e.admit_after_preemption then return false end
  if plan.is_short or e.is_tight and e.num_running > 0 then return false end
  return e.fifo.size > 0 and (plan.seqs_left >= 1 or hooks.policy.preempt_for)
end

-- Not now, and the engine looks at the others. The cost says when it has looked enough.
local function hold(e, i, cost)
  e.plan.num_held = e.plan.num_held + 1
  e.requests.held[i] = e.step_number
  return cost
end

-- It wants more tokens than are left: others may pass, as far as the first such request then still fits.
local function pass(e, i)
  local plan = e.plan
  if plan.tokens_left < 1 then
    starve(e, i)
    return -1
  end
  if plan.has_passed then return 1 end
  starve(e, i)
  plan:set_aside(i, e.sizing:least(i))
  return 0
end

-- What about the first of the queue? -1: nobody behind it either; 0: dealt with; above: what it costs to
-- look behind it; nil: the policy failed.
local function consider(e, hooks, i)
  local plan, sizing, r = e.plan, e.sizing, e.requests
  if r.mark[i] ~= 0 or r.flight[i] > 0 then return 0 end
  if hooks.is_built_in and e.obeys_holds and r.held[i] > 0 then
    plan.num_held = plan.num_held + 1
    return 1
  end
  local n = sizing:chunk(i, plan.tokens_left, plan.tokens_left)
  local first = n > 0 and n or sizing:least(i)
  if not plan:fits(i, first) then
    if room.claim(e, hooks, i, first) == false then return nil end
    return -1
  end
  if n == 0 then return pass(e, i) end
  n = chunk_of(e, hooks, i)
  if not n then return nil end
  if n < 1 then return hold(e, i, ZERO_CHUNK) end
  local ok, verdict, reason = hooks:admit(i)
  if not ok then return nil end
  if verdict == false then return hold(e, i, 1) end
  r.held[i] = 0
  if verdict == nil then
    plan:reject(i, reason)
    return 1
  end
  plan:admit(i, n)
  return 0
end

-- Does a waiting request go before a running one? Of equals the running one goes first; but where keys are
-- those of groups, the group that waits.
local function goes_before(e, hooks, i, running)
  local r = e.requests
  if r.key[i] ~= r.key[running] then return r.key[i] < r.key[running] end
  local group = hooks.policy.group
  return group ~= nil and r[group][i] ~= r[group][running]
end

--- Begin with the queue. Nothing but admit() follows until close().
---@return boolean ok
function M.open(e, hooks, queue)
  e.looks, e.is_open, e.is_opened = LOOKS, false, true
  if not may_admit(e, hooks) then return true end
  e.is_open = true
  return queue:begin(e.step_number) ~= false
end

--- Admit those of the queue that go before a running prompt; -1: everybody who fits.
---@return boolean ok
function M.admit(e, hooks, queue, running)
  while e.is_open and e.looks > 0 and may_admit(e, hooks) do
    local i = queue:candidate()
    if i == nil then return false end
    if i < 0 then break end
    if running >= 0 and not goes_before(e, hooks, i, running) then return true end
    local cost = consider(e, hooks, i)
    if cost == nil then return false end
    if cost < 0 then break end
    e.looks = e.looks - cost
    if cost > 0 then queue:hold(cost) else queue:advance() end
  end
  if e.is_open then
    e.is_open = false
    queue:finish()
  end
  return true
end

--- Put back what was looked at, however the packing ended.
function M.close(e, queue)
  if e.is_open then queue:finish() end
  e.is_open = false
end

return M
