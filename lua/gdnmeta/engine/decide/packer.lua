-- The greedy packer: fills a plan with running requests and with waiting ones, as a policy's hooks order
-- and size them. Functions return false when the policy failed: the plan is then thrown away.
local lib = require "gdnmeta.native"
local chunks = require "gdnmeta.engine.decide.chunks"
local decodes = require "gdnmeta.engine.decide.decodes"
local admissions = require "gdnmeta.engine.decide.admissions"
local NONE = require("gdnmeta.engine.requests").NONE
local joint = require("gdnmeta.native.trace_cuts").joint

local running_is_split, running_is_packed = joint(), joint()

local M = {}

-- Keys of prompts under way, as of now.
local function key_chunks(e, hooks, n)
  local policy = hooks.policy
  return policy.static or hooks:keys(e.work, n, e.step_number)
end

-- Waiting requests that go before a running prompt are looked at first, unless one of those found no memory
-- in the last step, where others had been admitted before it.
local function merges(e, hooks)
  return hooks.policy.key and e.fifo.size > 0 and not e.is_hungry
end

-- Prompts under way, in the order of their keys, with the waiting ones between them.
local function take_chunks(e, hooks, queue, n)
  local r, limits, merge = e.requests, e.token_limits, merges(e, hooks)
  if hooks.policy.key and (n > 1 or merge) then
    if not key_chunks(e, hooks, n) then return false end
    lib.gdn_sort_by_key(n, r.key, e.work, e.places)
  end
  for k = 0, n - 1 do
    local i = e.work[k]
    if merge and not admissions.admit(e, hooks, queue, i) then return false end
    if r.mark[i] == 0 and limits:may_run(i) and not chunks.take(e, hooks, i) then return false end
  end
  return true
end

-- As they were admitted: an early prompt may leave nothing for later decodes.
local function take_in_order(e, hooks, queue, n)
  local r, limits, merge = e.requests, e.token_limits, merges(e, hooks)
  if merge and not key_chunks(e, hooks, n) then return false end
  for at = 0, e.num_running - 1 do
    local i = e.running[at]
    if r.mark[i] == 0 and limits:may_run(i) then
      local ok
      if limits:is_decode(i) then
        ok = decodes.take(e, hooks, i)
      else
        ok = not merge or admissions.admit(e, hooks, queue, i)
        ok = ok and (r.mark[i] ~= 0 or chunks.take(e, hooks, i))
      end
      if not ok then return false end
    end
  end
  return true
end

local function take_running(e, hooks, queue)
  local num_decodes, num_chunks = decodes.split(e)
  running_is_split()
  decodes.trim(e, num_decodes)
  if num_chunks > 0 and not hooks.policy.decode_first then
    return take_in_order(e, hooks, queue, num_chunks)
  end
  if not decodes.take_all(e, hooks, num_decodes) then return false end
  return num_chunks == 0 or take_chunks(e, hooks, queue, num_chunks)
end

--- Fill what is left of the plan. `hooks` are a policy's, `queue` its order of the waiting requests.
---@return boolean ok false: the policy failed
function M.fill(e, hooks, queue)
  e.is_open, e.is_opened = false, false
  local ok = decodes.limit(e, hooks) and take_running(e, hooks, queue)
  running_is_packed()
  ok = ok and admissions.admit(e, hooks, queue, NONE)
  admissions.close(e, queue)
  if ok and e.has_paused and e.plan.tokens_left > 0 then ok = decodes.resume(e, hooks) end
  return ok
end

--- The hooks of the built-in policy: decodes first, then prompts by arrival.
M.BUILT_IN = {
  is_built_in = true,
  policy = { name = "built-in", decode_first = true },
  chunk = function(_, _, want) return want end,
  admit = function() return true, true end,
}

return M
