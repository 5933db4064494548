-- A proven plan becomes true: victims leave, rejected requests go, admitted ones get a table row, and every
-- entry gets the slots and blocks that its step needs.
local bit = require "bit"
local requests = require "gdnmeta.engine.requests"
local trace_cuts = require "gdnmeta.native.trace_cuts"
local joint, piece = trace_cuts.joint, trace_cuts.piece

local decodes_are_in, chunks_are_in, is_compact = joint(), joint(), joint()
local bxor, rshift = bit.bxor, bit.rshift
local WAITING, RUNNING, CANCELLED = requests.WAITING, requests.RUNNING, requests.CANCELLED
local NONE = requests.NONE

local M = {}

--- Give back what a request holds, now or when the last step that names it completes.
function M.release(e, i)
  local r, states = e.requests, e.states
  if e.prefix then e.prefix:drop_answer(i) end
  if r.flight[i] == 0 then
    states:leave(i)
    return
  end
  local slots, kv = states:held_slots(i), states:held_kv(i)
  r.slots_coming[i], r.kv_coming[i] = slots, kv
  e.slots_coming, e.kv_coming = e.slots_coming + slots, e.kv_coming + kv
end

--- The last step that names it is complete.
function M.return_slots(e, i)
  local r = e.requests
  e.slots_coming, e.kv_coming = e.slots_coming - r.slots_coming[i], e.kv_coming - r.kv_coming[i]
  r.slots_coming[i], r.kv_coming[i] = 0, 0
  e.states:leave(i)
end

--- Into the queue: at its end, or, after a preemption, in front.
function M.enqueue(e, i, front)
  local r, waiting = e.requests, e.users.waiting
  r.state[i] = WAITING
  waiting[r.user[i]] = waiting[r.user[i]] + 1
  if front then e.fifo:push_front(i) else e.fifo:push_back(i) end
  if e.queue then e.queue:push(i, front) end
end

function M.dequeue(e, i)
  local user, waiting = e.requests.user[i], e.users.waiting
  waiting[user] = waiting[user] - 1
  e.fifo:remove(i)
  if e.queue then e.queue:remove(i) end
end

--- Keep those of the running list that still run, in order. Without a branch: where the loop was compiled as
-- one of them left, all others took a way out of it, five times as long.
function M.compact_running(e)
  local running, state, kept = e.running, e.requests.state, 0
  for at = 0, e.num_running - 1 do
    local i = running[at]
    running[kept] = i
    kept = kept + rshift(bxor(state[i], RUNNING) - 1, 31) -- 1: it runs
  end
  e.num_running, e.roster = kept, e.roster + 1
  is_compact()
end

--- I22. The text stays known, its states are computed again from the checkpoint on.
function M.send_back(e, i)
  local r = e.requests
  e.stats.discarded = e.stats.discarded + r.computed[i] - r.cached[i]
  M.release(e, i)
  r:outdate(i)
  r.keep_at[i], r.kept[i] = 0, NONE
  if e.prefix and r.ids[i] then -- it begins where it then finds a state
    e.prefix:let_go(i)
    r.matched[i], r.cross_at[i] = -1, 0
  end
  r.computed[i], r.drafts[i] = r.cached[i], 0
  r.placeholders[i], r.pending[i], r.ahead[i], r.fix[i], r.speculative[i] = 0, 0, 0, 0, 0
  M.enqueue(e, i, true)
end

local function preempt(e, i)
  M.send_back(e, i)
  e.stats.preemptions = e.stats.preemptions + 1
  e.requests.preemptions[i] = e.requests.preemptions[i] + 1
end

local function reject(e, i)
  local r = e.requests
  M.dequeue(e, i)
  r.state[i] = CANCELLED
  r:outdate(i)
  e.stats.rejected = e.stats.rejected + 1
end

local function admit(e, step, i)
  local r = e.requests
  M.dequeue(e, i)
  e.states:enter(i, step.kv_copies)
  r.state[i], r.allowed[i] = RUNNING, 0
  e.running[e.num_running] = i
  e.num_running, e.roster = e.num_running + 1, e.roster + 1
end

local function commit_victims(e, step)
  local plan, r, told = e.plan, e.requests, #step.preempted
  for v = 0, plan.num_victims - 1 do
    local i = plan.victims[v]
    preempt(e, i)
    if plan.gives_way then r.yielded[i] = r.yielded[i] + 1 end
    step.preempted[told + v + 1] = r.id[i]
  end
  if plan.num_victims ~= 0 then M.compact_running(e) end
  if plan.frees_memory then e.is_tight = true end
end

-- What the next step has to know of this one.
local function remember(e)
  local plan = e.plan
  e.starved_before, e.is_hungry, e.stats.held = plan.starved, plan.is_hungry, plan.num_held
end

local function commit_rejects(e, step)
  local plan, r, told = e.plan, e.requests, #step.rejected
  for n = 1, plan.num_rejects do
    local i = plan.rejects[n]
    reject(e, i)
    step.rejected[told + n], step.reasons[r.id[i]] = r.id[i], plan.reasons[n]
  end
end

-- Decodes that take more than they hold. Without a branch, as most take nothing, see decodes.split().
local function commit_decodes(e)
  local plan, r, states, uncovered, n = e.plan, e.requests, e.states, e.work, 0
  local decodes, drafts, computed = plan.decodes, plan.drafts, r.computed
  for p = 0, plan.num_decodes - 1 do
    local i = decodes[p]
    uncovered[n] = p
    n = n + 1 - states:covers(i, computed[i] + 1 + drafts[p], drafts[p])
  end
  for k = 0, n - 1 do
    local p = uncovered[k]
    local i = decodes[p]
    states:reserve(i, computed[i] + 1 + drafts[p], drafts[p])
  end
end

-- A chunk that ends where the request is to leave a state.
local function leave_state(e, i, n)
  local r = e.requests
  e.prefix:spare_state(i)
  local ends = r.computed[i] + n
  if e.prefix:leaves_state(i, ends) then r.keep_at[i] = ends end
end

-- The p-th chunk of the plan.
local commit_chunk = piece(function(e, step, p)
  local r, i, n = e.requests, e.plan.chunks[p], e.plan.tokens[p]
  if r.state[i] == WAITING then
    admit(e, step, i)
    step.admitted[#step.admitted + 1] = r.id[i]
  end
  if e.prefix then leave_state(e, i, n) end
  e.states:reserve(i, r.computed[i] + n, 0)
end)

--- Write requests that came and went into the step's lists.
function M.commit(e, step)
  local plan = e.plan
  remember(e)
  commit_victims(e, step)
  commit_rejects(e, step)
  if e.moves_aside then
    for p = 0, plan.num_decodes - 1 do e.prefix:spare_answer(plan.decodes[p]) end
  end
  commit_decodes(e)
  decodes_are_in()
  for p = 0, plan.num_chunks - 1 do commit_chunk(e, step, p) end
  chunks_are_in()
  if e.num_running > e.stats.peak_running then e.stats.peak_running = e.num_running end
end

return M
