-- Two runs of one workload, request by request: a mean may stay the same while half of the requests
-- lose what the others win.
local numbers = require "gdnmeta.sim.numbers"
local printed = require "gdnmeta.native.printed"

local DIFFERENCES = printed.figures("Differences", { "n", "better", "worse", "mean", "p10", "p50", "p90" })

local M = {}

local FIELDS = { "ttft", "e2e" } -- per_request lists, in ms; false where a request got none

local function percentile(sorted, p)
  return sorted[math.max(1, math.ceil(#sorted * p / 100))]
end

--- Differences b - a of every request that both runs finished.
---@param a table run with per_request
---@param b table
---@return table|nil fields field -> { n, better, worse (counts), p10, p50, p90, mean (ms) }
---@return string? message
function M.pair(a, b)
  if not a.per_request or not b.per_request then return nil, "a run that was read back has no requests" end
  if a.requests ~= b.requests then
    return nil, ("%d requests against %d: not one workload"):format(a.requests, b.requests)
  end
  local fields = {}
  for _, field in ipairs(FIELDS) do
    local list, better, worse, sum = {}, 0, 0, 0
    for i = 1, a.requests do
      local x, y = a.per_request[field][i], b.per_request[field][i]
      if x and y then
        local difference = y - x
        list[#list + 1], sum = difference, sum + difference
        if difference < 0 then better = better + 1 elseif difference > 0 then worse = worse + 1 end
      end
    end
    table.sort(list)
    fields[field] = setmetatable({ n = #list, better = better, worse = worse,
      mean = #list > 0 and sum / #list or nil, p10 = percentile(list, 10), p50 = percentile(list, 50),
      p90 = percentile(list, 90) }, DIFFERENCES)
  end
  return fields
end

local function sentence(what, d)
  return ("%s earlier for %s %%, later for %s %%, median %s%s ms"):format(
    what, numbers.percent(d.better / d.n), numbers.percent(d.worse / d.n), d.p50 > 0 and "+" or "",
    numbers.number(d.p50))
end

--- One sentence a run after the first.
---@param runs table
---@return table sentences
function M.sentences(runs)
  local sentences = {}
  for i = 2, #runs do
    local pair = M.pair(runs[1], runs[i])
    if pair and pair.ttft.n > 0 then
      sentences[#sentences + 1] = ("%s against %s, request by request: %s; %s"):format(runs[i].policy,
        runs[1].policy, sentence("first token", pair.ttft), sentence("last", pair.e2e))
    end
  end
  return sentences
end

return M
