-- A cache's hooks for the lab: code of a file has a budget, and what a hook raises or returns that is no
-- answer ends the replay, with the hook's name. An engine would go on with its built-in cache; figures would
-- then be of another cache than the one asked for.
local args = require "gdnmeta.native.args"
local budget = require "gdnmeta.policy.contained.budget"
local positions = require "gdnmeta.engine.prefix.positions"
local no_yield = require "gdnmeta.policy.contained.no_yield"
local raised = require "gdnmeta.policy.contained.raised"

local BUDGET = 1e6 -- instructions of a call, as an engine gives

local M = {}

local function fail(hook, message) error(("%s %s"):format(hook, message), 0) end

-- The hook under a budget.
local function limited(hook, call)
  local limits, failure = budget.limits(BUDGET), budget.failure
  return function(a, b, c, d)
    failure.trace, failure.raised = nil, nil
    local ok, answer = no_yield(budget.call, limits, call, a, b, c, d)
    if not ok then fail(hook, "failed: " .. (failure.raised ~= nil and budget.text(failure.raised)
      or tostring(answer))) end
    return answer
  end
end

local function caught(hook, call)
  return function(a, b, c, d)
    local ok, answer = pcall(call, a, b, c, d)
    if not ok then fail(hook, "failed: " .. raised.text(answer)) end
    return answer
  end
end

local CHECKS = {
  checkpoints = function(answer, _, _, _, looks)
    local problem = positions.problem(answer, looks)
    if problem then error("checkpoints" .. problem, 0) end
  end,
  keep = function(answer)
    if type(answer) == "boolean" or type(answer) == "number" and answer == answer then return end
    fail("keep", "returned " .. args.show(answer) .. ", want true, false or a number")
  end,
  worth = function(_, _, n, values)
    for k = 1, n do
      local value = rawget(values, k) -- none of its metamethods: they would have no limits here
      if type(value) ~= "number" or value ~= value then
        fail("worth", ("left values[%d] = %s, want a number"):format(k, args.show(value)))
      end
    end
  end,
}

--- Hooks that say what is wrong with the cache's.
---@param cache gdnmeta.Cache
---@return table name, checkpoints, keep, worth
function M.of(cache)
  local hooks = { name = cache.name }
  local looks = positions.looks()
  for hook, check in pairs(CHECKS) do
    local call = cache[hook]
    if call then
      local safe = (cache.trusted and caught or limited)(hook, call)
      hooks[hook] = function(a, b, c, d)
        local answer = safe(a, b, c, d)
        check(answer, a, b, c, looks)
        return answer
      end
    end
  end
  return hooks
end

return M
