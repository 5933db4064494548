-- Who of the queue comes in: waiting requests, between the prompts under way where the policy has a key.
-- Functions return false when the policy failed: the plan is then thrown away.
local chunks = require "gdnmeta.engine.decide.chunks"
local preempt = require "gdnmeta.engine.decide.preempt"
local foreign_text = require "gdnmeta.native.foreign_text"

local NONE = require("gdnmeta.engine.requests").NONE
local piece = require("gdnmeta.native.trace_cuts").piece
local starve = chunks.starve

-- What a step may look at in the queue beyond what it admits: a request that is held costs 1, one whose
-- chunk is 0 costs 4, for that may be all of them. 128 requests held, or 32 that get no token.
local LOOKS, ZERO_CHUNK = 128, 4
local NO_MORE = -1 -- in place of such a cost: none after it comes in either

local M = {}

-- Memory freed by a preemption is not given to the queue, or the newcomer would be preempted next:
-- nothing is admitted while a running request waits for memory, nor, after a preemption, before a
-- token came out. Until then the running ones only grow fewer, and the last of them emits, for any request
-- fits the pools alone: whatever the victims are, tokens keep coming (I24).
local function may_admit(e, hooks)
  local plan = e.plan
  if plan.num_victims > 0 and not e.admit_after_preemption then return false end
  if plan.is_short or e.is_tight and e.num_running > 0 then return false end
  return plan.seqs_left >= 1 or hooks.policy.preempt_for
end

-- Not now, and the engine looks at the others. The cost says when it has looked enough.
local function hold(e, i, cost)
  e.plan.num_held = e.plan.num_held + 1
  e.requests.held[i] = e.step_number
  return cost
end

-- The policy's decision on a request: true to admit it, else the cost of looking past it, held or turned
-- away; nil: the policy failed.
local function ask(e, hooks, i)
  local ok, verdict, reason = hooks:admit(i)
  if not ok then return nil end
  if verdict == false then return hold(e, i, 1) end
  e.requests.held[i] = 0
  if verdict == nil then
    e.plan:reject(i, foreign_text.message(reason))
    return 1
  end
  return true
end

-- The same of one that cannot start in this step: if the policy holds it, it blocks no other. A chunk
-- of 0 after others' tokens may be for lack of tokens.
local function ask_ahead(e, hooks, i)
  if e.token_limits.chunked and hooks.policy.chunk and e.plan.prefill_taken == 0 then
    local limit = hooks:chunk(i, e.requests.known[i] - e.requests.computed[i])
    if not limit then return nil end
    if limit < 1 then return hold(e, i, ZERO_CHUNK) end
  end
  return ask(e, hooks, i)
end

-- It lacks a table row or memory: so would those after it, sooner or later.
local function lacks_memory(e, hooks, i, n)
  local verdict = ask_ahead(e, hooks, i)
  if verdict ~= true then return verdict end
  if preempt.claim(e, hooks, i, n) == false then return nil end
  return NO_MORE
end

-- It wants more tokens than are left: others may pass, as far as the first such request then still fits.
local function pass(e, hooks, i)
  local plan = e.plan
  if plan.tokens_left < 1 then
    starve(e, i)
    return NO_MORE
  end
  if plan.has_passed then return 1, true end
  local verdict = ask_ahead(e, hooks, i)
  if verdict ~= true then return verdict end
  starve(e, i)
  plan:set_aside(i, e.token_limits:least(i))
  return 0
end

-- What a look at a waiting request finds before the policy is called.
local DONE, HELD, NO_MEMORY, NO_TOKENS, READY = 0, 1, 2, 3, 4

---@return integer what it finds, integer? first tokens that it would begin with
local function look(e, hooks, i)
  local plan, limits, r = e.plan, e.token_limits, e.requests
  if r.mark[i] ~= 0 or r.flight[i] > 0 then return DONE end
  if e.prefix and plan.way_made_for ~= i then e.prefix:look(i) end
  if hooks.is_built_in and e.obeys_holds and r.held[i] > 0 and r.held[i] >= e.heard then return HELD end
  local n = limits:chunk(i, plan.tokens_left, plan.tokens_left)
  local first = n > 0 and n or limits:least(i)
  if not plan:fits_now(i, first) then return NO_MEMORY, first end
  if n == 0 then return NO_TOKENS, first end
  return READY, first
end

-- It fits with its first tokens: what the policy says of it.
local function call_policy(e, hooks, i, first)
  local n = chunks.size(e, hooks, i)
  if not n then return nil end
  if n < 1 then return hold(e, i, ZERO_CHUNK) end
  local verdict = ask(e, hooks, i)
  if verdict ~= true then return verdict end
  if n == first then e.plan:let_in(i, n) else e.plan:admit(i, n) end
  return 0
end

-- What about the first of the queue, by what look() found? NO_MORE; 0: done; above: the cost of looking past
-- it, and whether it was only passed; nil: the policy failed.
local function consider(e, hooks, i, found, first)
  if found == READY then return call_policy(e, hooks, i, first) end
  if found == NO_MEMORY then return lacks_memory(e, hooks, i, first) end
  if found == NO_TOKENS then return pass(e, hooks, i) end
  if found == HELD then e.plan.num_held = e.plan.num_held + 1 end
  return found
end

-- Does a waiting request go before a running one? Of equals the running one goes first; but where keys are
-- those of groups, the group that waits.
local function goes_before(e, hooks, i, running)
  local r = e.requests
  if r.key[i] ~= r.key[running] then return r.key[i] < r.key[running] end
  local group = hooks.policy.group
  return group ~= nil and r[group][i] ~= r[group][running]
end

-- Begin with the queue, as late as can be: a running request that left in this step may have made room.
local function open(e, hooks, queue)
  e.looks, e.is_open, e.is_opened = LOOKS, not not may_admit(e, hooks), true
  if e.is_open then queue:begin(e.step_number) end
end

-- The step has looked enough, or nobody may come in any more.
local function is_over(e, hooks) return e.looks < 1 or not may_admit(e, hooks) end

-- Past one that does not come in: it is done with, was only passed, or is held.
local function go_past(e, queue, cost, is_passed)
  if cost == 0 then return queue:advance() end
  e.looks = cost ~= NO_MORE and e.looks - cost or 0
  if cost == NO_MORE then return end
  if is_passed then queue:pass(cost) else queue:hold(cost) end
end

--- Put back what was looked at, however the packing ended.
function M.close(e, queue)
  if e.is_open then queue:finish() end
  e.is_open = false
end

local function none(e, queue)
  M.close(e, queue)
  return NONE
end

-- The first of the queue, if it may come in now; NONE: nobody does; nil: the policy failed.
---@return integer|nil i, integer? what a look at it finds, integer? first tokens that it would begin with
local find = piece(function(e, hooks, queue, running)
  if not e.is_opened then open(e, hooks, queue) end
  if is_over(e, hooks) then return none(e, queue) end
  local i = queue:candidate(running >= 0)
  if i == nil then return nil end
  if i < 0 then return none(e, queue) end
  if running >= 0 and not goes_before(e, hooks, i, running) then return NONE end
  local found, first = look(e, hooks, i)
  return i, found, first
end)

-- It comes in, or the queue goes past it. false: nobody after it comes in; nil: the policy failed.
local take = piece(function(e, hooks, queue, i, found, first)
  local cost, is_passed = consider(e, hooks, i, found, first)
  if cost == nil then return nil end
  go_past(e, queue, cost, is_passed)
  return not is_over(e, hooks)
end)

-- States that others left may make room for request i, once.
local function makes_way(e, i, n)
  local plan = e.plan
  if not e.prefix or plan.way_made_for == i or plan.seqs_left < 1 then return false end
  plan.way_made_for = i
  return e.prefix:make_way(i, n)
end

--- Admit those of the queue that go before a running prompt; NONE: all that fit. After the first call
--- close() must follow.
---@return boolean ok
function M.admit(e, hooks, queue, running)
  if e.fifo.size == 0 or e.is_opened and not e.is_open then return true end
  local goes_on = true
  while goes_on do
    local i, found, first = find(e, hooks, queue, running)
    if i == nil then return false end
    if i < 0 then return true end
    if found ~= NO_MEMORY or not makes_way(e, i, first) then
      goes_on = take(e, hooks, queue, i, found, first)
      if goes_on == nil then return false end
    end
  end
  return true
end

return M
