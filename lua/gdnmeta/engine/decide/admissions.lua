-- Who of the queue comes in: waiting requests, between the prompts under way where the policy has a key.
-- Functions return false when the policy failed: the plan is then thrown away.
local chunks = require "gdnmeta.engine.decide.chunks"
local preempt = require "gdnmeta.engine.decide.preempt"
local foreign_text = require "gdnmeta.native.foreign_text"

local piece = require("gdnmeta.native.trace_cuts").piece
local starve = chunks.starve

-- What a step may look at in the queue beyond what it admits: a request that is held costs 1, one whose
-- chunk is 0 costs 4, for that may be all of them. 128 requests held, or 32 that get no token.
local LOOKS, ZERO_CHUNK = 128, 4

local M = {}

-- Memory freed by a preemption is not given to the queue, or the newcomer would be preempted next:
-- nothing is admitted while a running request waits for memory, nor, after a preemption, before a
-- token came out. Until then the running ones only grow fewer, and the last of them emits, for any request
-- fits the pools alone: whatever the victims are, tokens keep coming (I24).
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
  return -1
end

-- It wants more tokens than are left: others may pass, as far as the first such request then still fits.
local function pass(e, hooks, i)
  local plan = e.plan
  if plan.tokens_left < 1 then
    starve(e, i)
    return -1
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
  if e.prefix then e.prefix:look(i) end
  if hooks.is_built_in and e.obeys_holds and r.held[i] > 0 and r.held[i] >= e.heard then return HELD end
  local n = limits:chunk(i, plan.tokens_left, plan.tokens_left)
  local first = n > 0 and n or limits:least(i)
  if not plan:fits(i, first) then return NO_MEMORY, first end
  if n == 0 then return NO_TOKENS, first end
  return READY, first
end

-- It fits: what the policy says of it.
local function call_policy(e, hooks, i)
  local n = chunks.size(e, hooks, i)
  if not n then return nil end
  if n < 1 then return hold(e, i, ZERO_CHUNK) end
  local verdict = ask(e, hooks, i)
  if verdict ~= true then return verdict end
  e.plan:admit(i, n)
  return 0
end

-- What about the first of the queue, by what look() found? -1: none after it either; 0: done; above: the cost
-- of looking past it, and whether it was only passed; nil: the policy failed.
local function consider(e, hooks, i, found, first)
  if found == READY then return call_policy(e, hooks, i) end
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
  e.looks, e.is_open, e.is_opened = LOOKS, may_admit(e, hooks) and true or false, true
  if e.is_open then queue:begin(e.step_number) end
end

-- The first of the queue, or -1; nil: the policy failed.
local function first_of(e, hooks, queue, running)
  if e.looks < 1 or not may_admit(e, hooks) then return -1 end
  return queue:candidate(running >= 0)
end

-- Past one that does not come in: it is done with, was only passed, or is held.
local function go_past(e, queue, cost, is_passed)
  if cost == 0 then return queue:advance() end
  e.looks = cost < 0 and 0 or e.looks - cost
  if cost < 0 then return end
  if is_passed then queue:pass(cost) else queue:hold(cost) end
end

-- With a state cache a newcomer has many ways: each part is compiled for itself then.
local AS_ONE = { first_of = first_of, look = look, consider = consider }
local IN_PIECES = { first_of = piece(first_of), look = piece(look), consider = piece(consider) }

--- Admit those of the queue that go before a running prompt; -1: all that fit. After the first call
--- close() must follow. Functions that call no hook are compiled, each as a whole; this one calls some.
---@return boolean ok
function M.admit(e, hooks, queue, running)
  if e.fifo.size == 0 then return true end
  if not e.is_opened then open(e, hooks, queue) end
  local parts = e.prefix and IN_PIECES or AS_ONE
  while e.is_open do
    local i = parts.first_of(e, hooks, queue, running)
    if i == nil then return false end
    if i < 0 then
      M.close(e, queue)
    elseif running >= 0 and not goes_before(e, hooks, i, running) then
      return true
    else
      local found, first = parts.look(e, hooks, i)
      local cost, is_passed = parts.consider(e, hooks, i, found, first)
      if cost == nil then return false end
      go_past(e, queue, cost, is_passed)
    end
  end
  return true
end

--- Put back what was looked at, however the packing ended.
function M.close(e, queue)
  if e.is_open then queue:finish() end
  e.is_open = false
end

return M
