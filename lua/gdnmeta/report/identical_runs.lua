-- Runs in which two policies or caches did the same in every step: their lines lie on each other in every
-- picture, and a reader should know that this is no mistake, and why it is so.
local numbers = require "gdnmeta.sim.numbers"

local M = {}

local SUMS = { "steps", "seconds", "scheduled", "emitted", "preemptions", "rejected", "finished" }
local TIMES = { "ttft", "itl", "e2e", "queue" }
local POINTS = { "n", "mean", "p50", "p90", "p99", "max" }

--- Did two runs of one workload come to the same? Simulated times are exact, so equal figures are no chance.
---@param a table
---@param b table
---@return boolean
function M.same(a, b)
  if a.setup.rate ~= b.setup.rate then return false end
  for _, name in ipairs(SUMS) do
    if a[name] ~= b[name] then return false end
  end
  for _, name in ipairs(TIMES) do
    for _, point in ipairs(POINTS) do
      if a[name][point] ~= b[name][point] then return false end
    end
  end
  return true
end

--- For each run the first one that did the same, or false.
---@param runs table
---@return table twins
function M.twins(runs)
  local twins = {}
  for i, run in ipairs(runs) do
    twins[i] = false
    for k = 1, i - 1 do
      if not twins[k] and not twins[i] and M.same(runs[k], run) then twins[i] = k end
    end
  end
  return twins
end

--- Names for legends; a run that did the same as another names it.
---@param runs table
---@param names table
---@return table
function M.names(runs, names)
  local list = {}
  for i, twin in ipairs(M.twins(runs)) do
    local other = twin and names[i] ~= names[twin] and names[twin]
    list[i] = other and ("%s (same as %s)"):format(names[i], other) or names[i]
  end
  return list
end

local KINDS = { { "users", "user" }, { "classes", "class" }, { "priorities", "priority" } }

-- Why policies could not tell requests apart.
local function of_policies(run)
  local parts, one = {}, {}
  for _, kind in ipairs(KINDS) do
    if (run.setup.distinct or {})[kind[1]] == 1 then one[#one + 1] = "one " .. kind[2] end
  end
  if #one > 0 then parts[1] = "all requests are of " .. table.concat(one, ", ") end
  local waiting = 0
  for _, point in ipairs(run.timeline or {}) do waiting = math.max(waiting, point.waiting or 0) end
  if run.timeline and waiting == 0 then parts[#parts + 1] = "no step left a request waiting" end
  if #parts == 0 then return "what they decide by does not differ in this workload" end
  return table.concat(parts, ", and ")
end

-- States that left the device; math.huge: the run does not say.
local function evicted(cache)
  return (cache.states_evicted or math.huge) + (cache.host and cache.host.demoted or 0)
end

-- Why caches came to the same.
local function of_caches(group)
  local most, gone = 0, 0
  for _, run in ipairs(group) do
    if not run.cache then return "no prompt began with a state of a cache" end
    most, gone = math.max(most, run.cache.most_states or 0), math.max(gone, evicted(run.cache))
  end
  if gone == 0 then
    if most == 0 then return "no state was kept" end
    return ("no state was evicted, there was room for all %s"):format(numbers.count(most))
  end
  return "what their caches decide by does not differ in this workload"
end

local function cache_of(run)
  return run.cache and ("%s %s"):format(run.cache.name, run.cache.slots) or "none"
end

-- Runs of a group differ in their caches, in their policies, or in both.
local function reason(group)
  local seen, n = {}, 0
  for _, run in ipairs(group) do
    local cache = cache_of(run)
    if not seen[cache] then seen[cache], n = true, n + 1 end
  end
  local parts = { n > 1 and of_caches(group) or nil }
  if n < #group then parts[#parts + 1] = of_policies(group[1]) end
  return table.concat(parts, "; ")
end

--- A sentence for each group of runs that did the same.
---@param runs table
---@param names table
---@return table sentences
function M.sentences(runs, names)
  local twins, sentences = M.twins(runs), {}
  for first in ipairs(runs) do
    local others, group = {}, { runs[first] }
    for i, twin in ipairs(twins) do
      if twin == first then others[#others + 1], group[#group + 1] = names[i], runs[i] end
    end
    if #others > 0 then
      sentences[#sentences + 1] = ("%s did the same as %s in every step: %s"):format(
        table.concat(others, ", "), names[first], reason(group))
    end
  end
  return sentences
end

return M
