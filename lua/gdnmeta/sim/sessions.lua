-- Sessions in closed loop: the next turn comes when the one before has been answered and its reader has
-- thought.
local numbers = require "gdnmeta.sim.numbers"
local workload = require "gdnmeta.sim.workload"

local M = { THINK = 10 } -- seconds, on average

local function count_of(n) return ("%s session%s"):format(numbers.count(n), n == 1 and "" or "s") end

--- Deal requests out to n sessions: the first n begin them, any other is the next turn of one that is drawn.
--- Requests that have a session keep it.
---@param requests table
---@param n integer
---@param seed integer
function M.deal(requests, n, seed)
  local random, last, count = workload.random(seed + 2^30), {}, 0
  for _, r in ipairs(requests) do
    if not r.session then
      local s = count
      if count < n then count = count + 1 else s = math.floor(random() * n) end
      r.session, r.after, r.dealt = ("session%d"):format(s + 1), last[s], true
      last[s] = r
    end
  end
end

-- Options that contradict each other.
local function problem_of(requests, o)
  local any, dealt, waits = false, false, o.closed_loop
  for _, r in ipairs(requests) do
    any, dealt, waits = any or r.session ~= nil, dealt or r.dealt, waits or r.dealt or r.undated
  end
  if o.closed_loop and not any then
    return "closed_loop: no request has a session; sessions (--sessions N) deals them out"
  elseif o.sessions and not dealt then
    return "sessions: every request has a session of its own; closed_loop (--closed-loop) lets its turns wait"
  elseif o.think and not waits then
    return "think: no turn waits for another, want closed_loop, or sessions (--sessions N)"
  end
end

--- Keep those links between turns that the options ask for, and draw how long readers think, exponentially
--- distributed around `think` seconds. A turn without a time of its own always waits.
---@param requests table
---@param o table closed_loop, sessions, think, seed
---@return string|nil message
function M.link(requests, o)
  local random = workload.random(o.seed + 2^29)
  local problem = problem_of(requests, o)
  if problem then return problem end
  for _, r in ipairs(requests) do
    if r.session ~= nil then
      if not (o.closed_loop or r.undated or r.dealt) then r.after = nil end
      if not r.after then
        r.think = nil
      elseif o.think or r.dealt then
        r.think = math.floor(-math.log(random()) * (o.think or M.THINK) * 1e6 + 0.5) / 1e6
      end
      r.undated, r.dealt = nil, nil
    end
  end
end

--- Notes on sessions for a report.
---@param requests table
---@param o table
---@return table sentences
function M.notices(requests, o)
  local seen, n, waiting, untold = {}, 0, 0, false
  for _, r in ipairs(requests) do
    if r.session and not seen[r.session] then seen[r.session], n = true, n + 1 end
    if r.after then waiting, untold = waiting + 1, untold or not r.think end
  end
  if n == 0 then return {} end
  if waiting == 0 then
    return { count_of(n) .. ", every turn at its recorded time" }
  end
  local think = o.think and ("thinking takes %s s on average"):format(numbers.number(o.think))
    or o.sessions and ("thinking takes %s s on average"):format(numbers.number(M.THINK))
    or untold and "and not before its recorded time" or "after the recorded thinking"
  return { ("%s in closed loop: %s of %s requests wait for the previous answer, %s"):format(
    count_of(n), numbers.count(waiting), numbers.count(#requests), think) }
end

return M
