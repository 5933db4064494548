-- A step has run: what its rows emitted, which requests finished, what is free again.
local commit_plan = require "gdnmeta.engine.commit_plan"
local kept_states = require "gdnmeta.engine.kept_states"
local requests = require "gdnmeta.engine.requests"
local trace_cuts = require "gdnmeta.native.trace_cuts"
local piece, rows_are_complete = trace_cuts.piece, trace_cuts.joint()

local WAITING, LEAVING, CANCELLED = requests.WAITING, requests.LEAVING, requests.CANCELLED

local M = { STOP = 1, LENGTH = 2 }

-- Tokens that a row of request i emits after stops and limits, and why the request ends: 0, STOP or LENGTH.
local function emitted_tokens(e, i, accepted, stop)
  local r = e.requests
  local n, finish = accepted + 1, 0
  if stop > 0 then n, finish = stop, M.STOP end
  local known = r.known[i]
  local left = math.min(r.max_tokens[i] - (known - r.prompt[i]), e.token_limits.max_model_len - known)
  if n >= left then
    if n > left or finish == 0 then finish = M.LENGTH end
    n = left
  end
  return n, finish
end
M.emitted_tokens = emitted_tokens

-- Gone for the host; its number stays taken while a step in flight names it.
local function leave(e, step, i)
  local r = e.requests
  e.of_use = e.of_use + r.known[i] - 1 - r.cached[i]
  if r.state[i] == WAITING then
    commit_plan.dequeue(e, i)
  else
    commit_plan.release(e, i)
    e.any_left = true
  end
  r.state[i] = LEAVING
  r:outdate(i)
  step.finished[#step.finished + 1] = r.id[i]
  e.gone[#e.gone + 1] = i
  e.stats.finished = e.stats.finished + 1
end

-- A row of a request that was preempted after the step was planned: its text is as good as ever, its
-- states are not. One that had finished by then ran for nothing.
local function complete_stale(e, step, row, i)
  local r, stats = e.requests, e.stats
  step.emitted[row], step.finish[row] = 0, 0
  if r.state[i] == LEAVING then
    stats.wasted_rows, stats.wasted_tokens = stats.wasted_rows + 1, stats.wasted_tokens + step.query_len[row]
  end
  if r.state[i] ~= WAITING or step.samples[row] == 0 then return end
  local n, finish = emitted_tokens(e, i, step.accepted_drafts[row], step.stop[row])
  r.known[i], r.last_emit[i] = r.known[i] + n, e.now
  step.emitted[row], step.finish[row] = n, finish
  if finish > 0 then -- nothing has to be computed again after all
    stats.discarded = stats.discarded - (r.known[i] - 1 - r.cached[i])
    leave(e, step, i)
  end
end

-- Drafts that were rejected: the request stands less far, and its state lies in another column. A later
-- step in flight counted on them, see correct().
local function take_back(e, step, row, i)
  local r, accepted = e.requests, step.accepted_drafts[row]
  local rejected = step.planned[row] - accepted
  r.computed[i] = r.computed[i] - rejected
  e.stats.rejected_drafts = e.stats.rejected_drafts + rejected
  if r.flight[i] == 0 then
    local is_aside = r.sourced[i] == 1 and r.kept[i] == r.computed[i] -- the step after this one was not built
    r.read_column[i] = is_aside and e.states.spare or step.column[row] + accepted
    r.accepted[i] = accepted + 1
  elseif rejected > 0 then
    r.fix[i], e.has_fixes = rejected, true
    r.read_before[i], r.fix_accepted[i] = step.column[row] + accepted, accepted + 1
  end
end

-- 0, or why its request ends; and has its answer a state to leave?
local function complete_row(e, step, row, i)
  local r = e.requests
  r.ahead[i] = r.ahead[i] - step.query_len[row]
  step.emitted[row], step.finish[row] = 0, 0
  if step.samples[row] == 1 then
    local n, finish = emitted_tokens(e, i, step.accepted_drafts[row], step.stop[row])
    take_back(e, step, row, i)
    r.known[i], r.last_emit[i], r.drafts[i] = r.known[i] + n, e.now, step.next_drafts[row]
    r.pending[i], r.placeholders[i] = r.pending[i] - 1, r.placeholders[i] - 1 - step.planned[row]
    step.emitted[row], step.finish[row] = n, finish
    if finish > 0 then return finish, e.prefix and e.prefix:has_said_all(i) end
  end
  if r.sourced[i] == 1 and step.read_column[row] == e.states.spare then e.states:drop_source(i) end
  local sure = r.computed[i] - r.ahead[i]
  if e.prefix and r.ids[i] then e.prefix:completed(i, sure, step, row) end
  if e.align and sure >= (r.first_column[i] + 1) * e.block then e.states:settle(i, sure) end
  return 0
end

-- The last step that named a request which had left before: its number is free.
local function let_go(e, i, had_left)
  local r = e.requests
  if r.flight[i] > 0 then return end
  commit_plan.return_slots(e, i)
  if had_left then r:put(i) end
end

local complete_any = piece(function(e, step, row, i)
  local r = e.requests
  r.flight[i] = r.flight[i] - 1
  if r.epoch[i] == step.epoch[row] then
    return complete_row(e, step, row, i)
  end
  local had_left = r.state[i] == LEAVING or r.state[i] == CANCELLED
  complete_stale(e, step, row, i)
  let_go(e, i, had_left)
  return 0
end)

-- Its request has said all.
local finish = piece(function(e, step, row, i)
  -- States of tokens after the last one that counts: computed for nothing.
  e.stats.rejected_drafts = e.stats.rejected_drafts + step.accepted_drafts[row] + 1 - step.emitted[row]
  leave(e, step, i)
end)

local leave_answer = piece(function(e, step, row, i) e.prefix:join_answer(i, step, row) end)

local function complete_one(e, step, row, i)
  local reason, has_answer = complete_any(e, step, row, i)
  if reason == 0 then return end
  if has_answer then leave_answer(e, step, row, i) end
  finish(e, step, row, i)
end

-- Decodes that go on, and no other step in flight: what nearly every row is. The same as complete_any does
-- for them, without a branch on what was accepted. Any other row ends the loop: LuaJIT compiles no loop from
-- its way out, while a branch in the loop might be compiled as the usual one.
---@return integer row the first one from `from` on that is no such decode
---@return integer emitted
local function complete_usual(e, step, from)
  local r, now, emitted, rejected = e.requests, e.now, 0, 0
  local length, block = e.token_limits.max_model_len, e.align and e.block or math.huge
  local spare = e.states.spare -- a row that reads it has another's state; -1: no decode does
  local next_row = step.num_decodes
  for row = from, step.num_decodes - 1 do
    local i, accepted = step.request[row], step.accepted_drafts[row]
    local n, known = accepted + 1, r.known[i]
    local planned, computed = step.planned[row], r.computed[i]
    computed = computed - planned + accepted
    if r.flight[i] ~= 1 or r.epoch[i] ~= step.epoch[row] or step.read_column[row] == spare
      or step.stop[row] ~= 0 or known + n >= length or known - r.prompt[i] + n >= r.max_tokens[i]
      or computed >= (r.first_column[i] + 1) * block or computed >= r.cross_at[i] then
      next_row = row
      break
    end
    r.flight[i], r.ahead[i], r.pending[i], r.placeholders[i] = 0, 0, 0, 0
    r.computed[i], r.known[i], r.last_emit[i] = computed, known + n, now
    r.read_column[i], r.accepted[i], r.drafts[i] = step.column[row] + accepted, n, step.next_drafts[row]
    step.emitted[row], step.finish[row] = n, 0
    emitted, rejected = emitted + n, rejected + planned - accepted
  end
  e.stats.rejected_drafts = e.stats.rejected_drafts + rejected
  return next_row, emitted
end

-- The same where a later step is in flight that counted on what came: all drafts were accepted. Where its
-- request reads, that step has said; it was planned, so this one's text ends before the longest.
local function complete_before_another(e, step, from)
  local r, now, emitted = e.requests, e.now, 0
  local block, spare = e.align and e.block or math.huge, e.states.spare
  local next_row = step.num_decodes
  for row = from, step.num_decodes - 1 do
    local i, accepted = step.request[row], step.accepted_drafts[row]
    local n, known, ahead = accepted + 1, r.known[i], r.ahead[i] - step.query_len[row]
    local sure = r.computed[i] - ahead
    if r.flight[i] ~= 2 or r.epoch[i] ~= step.epoch[row] or accepted ~= step.planned[row]
      or step.read_column[row] == spare or step.stop[row] ~= 0
      or known - r.prompt[i] + n >= r.max_tokens[i]
      or sure >= (r.first_column[i] + 1) * block or sure >= r.cross_at[i] then
      next_row = row
      break
    end
    r.flight[i], r.ahead[i] = 1, ahead
    r.pending[i], r.placeholders[i] = r.pending[i] - 1, r.placeholders[i] - n
    r.known[i], r.last_emit[i], r.drafts[i] = known + n, now, step.next_drafts[row]
    step.emitted[row], step.finish[row] = n, 0
    emitted = emitted + n
  end
  return next_row, emitted
end

-- Rows of a step are mostly alike: the first says which ones are usual.
local function complete_alike(e, step, from)
  if e.async and from < step.num_decodes and e.requests.flight[step.request[from]] == 2 then
    return complete_before_another(e, step, from)
  end
  return complete_usual(e, step, from)
end

local function complete_decodes(e, step)
  local row, emitted = complete_alike(e, step, 0)
  while row < step.num_decodes do
    complete_one(e, step, row, step.request[row])
    local next_row, more = complete_alike(e, step, row + 1)
    row, emitted = next_row, emitted + step.emitted[row] + more
  end
  return emitted
end

--- The step will never be complete, and every request that it names has been outdated.
function M.abandon(e, step)
  local r, stats = e.requests, e.stats
  for row = 0, step.num_rows - 1 do
    local i = step.request[row]
    r.flight[i] = r.flight[i] - 1
    step.emitted[row], step.finish[row] = 0, 0
    if r.state[i] == LEAVING then
      stats.wasted_rows = stats.wasted_rows + 1
      stats.wasted_tokens = stats.wasted_tokens + step.query_len[row]
    end
    let_go(e, i, r.state[i] == LEAVING or r.state[i] == CANCELLED)
  end
end

--- Apply the results that stand in the step's arrays.
function M.apply(e, step)
  if #step.keeping > 0 then kept_states.complete(e, step) end
  local emitted = complete_decodes(e, step)
  for row = step.num_decodes, step.num_rows - 1 do
    complete_one(e, step, row, step.request[row])
    emitted = emitted + step.emitted[row]
  end
  rows_are_complete()
  e.stats.emitted = e.stats.emitted + emitted
  if emitted > 0 then e.is_tight = false end
  if e.any_left then
    commit_plan.compact_running(e)
    e.any_left = false
  end
end

--- Drafts were rejected that a later step in flight counted on: its rows move back. Where the device
--- holds the accepted counts, it has read the right ones.
function M.correct(e, step)
  local r = e.requests
  for row = 0, step.num_rows - 1 do
    local i = step.request[row]
    local rejected = r.fix[i]
    r.fix[i] = 0
    if rejected > 0 and r.epoch[i] == step.epoch[row] then
      local ends, drafts = step.seq_len[row] - rejected, step.drafts[row]
      local column = e.align and math.floor((ends - 1) / e.block) or 0
      step.seq_len[row], step.last_accepted[row], step.column[row] = ends, r.fix_accepted[i], column
      step.read_column[row] = r.read_before[i]
      r.read_column[i] = column + math.max(drafts, 0)
    end
  end
  e.has_fixes = false
end

return M
