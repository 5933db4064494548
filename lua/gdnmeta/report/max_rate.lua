-- The highest rate that a policy sustains: where it still serves a share of the requests within their
-- targets. Attainment is taken to fall as the rate rises.
local M = {}

-- { rate, attainment } of a policy's runs, by rate. Requests that came all at once have none.
local function points(runs, policy)
  local list = {}
  for _, run in ipairs(runs) do
    local rate = run.policy == policy and run.setup.rate
    if rate then list[#list + 1] = { rate, run.attainment, run } end
  end
  table.sort(list, function(a, b) return a[1] < b[1] end)
  return list
end

--- Policies of the runs, in the order in which they come.
---@param runs table
---@return table names
function M.policies(runs)
  local names, seen = {}, {}
  for _, run in ipairs(runs) do
    if not seen[run.policy] then
      seen[run.policy] = true
      names[#names + 1] = run.policy
    end
  end
  return names
end

--- Order runs by policy, as they first come, and rate.
---@param runs table
function M.sort(runs)
  local place = {}
  for i, policy in ipairs(M.policies(runs)) do place[policy] = i end
  table.sort(runs, function(a, b)
    if a.policy ~= b.policy then return place[a.policy] < place[b.policy] end
    return (a.setup.rate or 0) < (b.setup.rate or 0)
  end)
end

local SETTLED = 3 -- rates

local NONE = {} -- percentiles where no request got a token

local function alike(a, b)
  local x, y = a.ttft or NONE, b.ttft or NONE
  return a.attainment == b.attainment and x.p50 == y.p50 and x.p90 == y.p90
end

-- Below the share at each of the lowest rates, with the same first tokens at all of them: requests that miss
-- their targets without any load.
local function is_settled(list, share)
  if #list < SETTLED then return false end
  local first = list[1][3]
  if first.attainment >= share or not first.ttft then return false end
  for k = 1, SETTLED - 1 do
    if not alike(list[k][3], list[k + 1][3]) then return false end
  end
  return true
end

--- Where a policy's runs leave the share: the last rate before it falls below, and the first after.
---@param runs table
---@param policy string
---@param share number of requests that meet their targets, such as 0.9
---@return table bracket good (rate or nil), run (the one at it), bad (rate or nil), settled (no lower rate
--- will do)
function M.bracket(runs, policy, share)
  local list = points(runs, policy)
  local bracket = { settled = is_settled(list, share) or nil }
  for _, point in ipairs(list) do
    if point[2] < share then
      bracket.bad = point[1]
      break
    end
    bracket.good, bracket.run = point[1], point[3]
  end
  return bracket
end

--- The rate to try next, or nil when the bracket is narrower than `width` (a share of the rate), no rate will
--- do, ten rates beyond the given ones have not closed it, or runs have no rate, as of a single request.
---@param bracket table
---@param width number
---@param tried integer rates tried since the given ones
---@return number|nil rate
function M.next(bracket, width, tried)
  if tried > 10 and not (bracket.good and bracket.bad) then return nil end
  if bracket.settled or not (bracket.good or bracket.bad) then return nil end
  if not bracket.good then return bracket.bad / 2 end
  if not bracket.bad then return bracket.good * 2 end
  if bracket.bad - bracket.good <= width * bracket.good then return nil end
  return (bracket.good + bracket.bad) / 2
end

return M
