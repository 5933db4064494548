-- The greedy packer: fills a plan with running requests, then with waiting ones, as a policy's hooks
-- order and size them. Functions return false when the policy failed: the plan is then thrown away.
local lib = require "gdnmeta.native"
local room = require "gdnmeta.engine.room"
local cut = require("gdnmeta.traces").cut

local min, max = math.min, math.max
local HELD = 128 -- requests that a policy may hold before the rest of the queue waits for the next step

local M = {}

local function take_decode(e, hooks, i, drafts)
  local plan = e.plan
  drafts = e.sizing:drafts(i, drafts, plan.tokens_left)
  if drafts < 0 then return true end
  while not plan:put_decode(i, drafts) do
    local todo = room.make(e, hooks, i, e.requests.computed[i] + 1 + drafts, drafts)
    if todo ~= "again" then return todo end
  end
  return true
end

-- Tokens that the policy gives a chunk: its hook is asked only when something fits at all.
local function chunk_of(e, hooks, i)
  local plan, sizing, r = e.plan, e.sizing, e.requests
  if sizing:chunk(i, plan.tokens_left, plan.tokens_left) == 0 then return 0 end
  if not sizing.chunked then return r.known[i] - r.computed[i] end
  local limit = hooks:chunk(i, r.known[i] - r.computed[i])
  return limit and sizing:chunk(i, limit, plan.tokens_left)
end

local function take_chunk(e, hooks, i)
  local plan = e.plan
  local n = chunk_of(e, hooks, i)
  if n == 0 or not n then return n end
  while not plan:put_chunk(i, n) do
    local todo = room.make(e, hooks, i, e.requests.computed[i] + n, 0)
    if todo ~= "again" then return todo end
  end
  return true
end

-- Drafts that each decode may use: those proposed, or what the policy leaves of them.
local function limit_drafts(e, hooks)
  if e.num_spec == 0 then return true end
  local policy, r, running = hooks.policy, e.requests, e.running
  local limit = policy.drafts_limit
  for at = 0, e.num_running - 1 do
    local i = running[at]
    local offered = r.drafts[i]
    r.allowed[i] = limit and limit < offered and limit or offered
  end
  return not policy.drafts or hooks:drafts(running, e.num_running)
end

-- Split the running list: decodes into e.items, others into e.work, both in order. Without a branch: a
-- loop that sees both kinds would be compiled for whichever came first.
local function split_running(e)
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

local function take_decodes(e, hooks, items, n)
  local r, sizing = e.requests, e.sizing
  for k = 0, n - 1 do
    local i = items[k]
    if r.mark[i] == 0 and sizing:may_run(i) and not take_decode(e, hooks, i, r.allowed[i]) then
      return false
    end
  end
  return true
end

local function take_chunks(e, hooks, items, n)
  local r, sizing = e.requests, e.sizing
  for k = 0, n - 1 do
    local i = items[k]
    if r.mark[i] == 0 and sizing:may_run(i) and not take_chunk(e, hooks, i) then return false end
  end
  return true
end

-- As they were admitted: an early prompt may leave nothing for later decodes.
local function take_in_order(e, hooks)
  local r, sizing = e.requests, e.sizing
  for at = 0, e.num_running - 1 do
    local i = e.running[at]
    if r.mark[i] == 0 and sizing:may_run(i) then
      local ok
      if sizing:is_decode(i) then
        ok = take_decode(e, hooks, i, r.allowed[i])
      else
        ok = take_chunk(e, hooks, i)
      end
      if not ok then return false end
    end
  end
  return true
end

-- Prompts under way go by key, if there are keys for single requests.
local function sort_chunks(e, hooks, items, n)
  local policy = hooks.policy
  if n < 2 or not policy.key or policy.group then return true end
  if not policy.static and not hooks:keys(items, n, e.step_number) then return false end
  lib.gdn_sort_by_key(n, e.requests.key, items, e.places)
  return true
end

local function take_running(e, hooks)
  local num_decodes, num_chunks = split_running(e)
  cut()
  if num_chunks > 0 and not hooks.policy.decode_first then return take_in_order(e, hooks) end
  if not take_decodes(e, hooks, e.items, num_decodes) then return false end
  return num_chunks == 0 or sort_chunks(e, hooks, e.work, num_chunks)
    and take_chunks(e, hooks, e.work, num_chunks)
end

-- What to do about the first of the queue: "stop", "next", or false where the policy failed.
local function consider(e, hooks, i)
  local plan, sizing, r = e.plan, e.sizing, e.requests
  if r.mark[i] ~= 0 or r.flight[i] > 0 then return "next" end
  local n = sizing:chunk(i, plan.tokens_left, plan.tokens_left)
  if n == 0 or not plan:fits(i, n) then return "stop" end
  n = chunk_of(e, hooks, i)
  if not n then return false end
  if n == 0 then return "stop" end
  local ok, verdict, reason = hooks:admit(i)
  if not ok then return false end
  if verdict == nil then
    plan:reject(i, reason)
  elseif verdict then
    plan:admit(i, n)
  end
  return "next"
end

local function take_waiting(e, hooks, queue)
  local plan, held = e.plan, 0
  if queue:begin(e.step_number) == false then return false end
  while plan.seqs_left > 0 and plan.tokens_left > 0 and held <= HELD do
    local i = queue:candidate()
    if i == nil then return false end
    if i < 0 then return true end
    local before = plan.admitted
    local todo = consider(e, hooks, i)
    if todo == "stop" then return true end
    if not todo then return false end
    if plan.admitted == before then held = held + 1 end
    queue:advance()
  end
  return true
end

-- Room that somebody left for is not given to the next of the queue, who would have to leave for it in turn:
-- nothing is admitted while a running request waits for room, nor, once somebody had to leave, before a
-- token came out. Until then the running ones only grow fewer, and the last of them emits, for any request
-- fits the pools alone: whoever the victims are, tokens keep coming (I24).
local function may_admit(e)
  local plan = e.plan
  if plan.num_victims > 0 and not e.admit_after_preemption then return false end
  if plan.is_short or e.is_tight and e.num_running > 0 then return false end
  return e.fifo.size > 0 and plan.seqs_left >= 1 and plan.tokens_left >= 1
end

--- Fill what is left of the plan. `hooks` are a policy's, `queue` its order of the waiting requests.
---@return boolean ok false: the policy failed
function M.fill(e, hooks, queue)
  if not limit_drafts(e, hooks) then return false end
  if not take_running(e, hooks) then return false end
  cut()
  if not may_admit(e) then return true end
  local ok = take_waiting(e, hooks, queue)
  queue:finish()
  return ok
end

--- The hooks of the built-in policy: decodes first, then prompts by arrival.
M.BUILT_IN = {
  policy = { name = "built-in", decode_first = true },
  chunk = function(_, _, want) return want end,
  admit = function() return true, true end,
}

return M
