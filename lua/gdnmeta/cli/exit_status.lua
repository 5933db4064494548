-- Exit status of commands that try policies: figures of a policy that failed are not its own.
local numbers = require "gdnmeta.sim.numbers"
local foreign_text = require "gdnmeta.native.foreign_text"

local M = {}

-- What became of a policy that failed in so many steps in a row that it was switched off, in every step, or
-- at every call of one hook, however rare; nil for one that planned its run.
local function problem(run)
  local f = run.failure
  if not f or not (run.switched_off or f.never or run.fallbacks >= run.steps) then return nil end
  local how = run.switched_off and " and was switched off" or f.never
    and (" whenever it was asked (%s)"):format(f.never) or ""
  return ("policy %s failed%s, the built-in one planned %s of %s steps: step %d, %s: %s"):format(run.policy,
    how, numbers.count(math.min(run.fallbacks, run.steps)), numbers.count(run.steps), f.step, f.hook,
    (f.message:gsub("%c", " ")))
end

-- The same of a cache.
local function cache_problem(run)
  local f = run.cache and run.cache.failure
  if not f or not (f.switched_off or f.never) then return nil end
  local how = f.switched_off and " and was switched off" or (" whenever it was asked (%s)"):format(f.never)
  return ("cache of %s failed%s, the built-in one went on: step %d, %s: %s"):format(run.policy, how, f.step,
    f.hook, (f.message:gsub("%c", " ")))
end

--- A line on stderr for each such run.
---@param runs table
---@return integer|nil status 1 where there is one
function M.status(runs)
  local status
  for _, run in ipairs(runs) do
    local lines = { problem(run), cache_problem(run) }
    for _, line in pairs(lines) do
      io.stderr:write("gdnmeta: ", foreign_text.lines(line), "\n")
      status = 1
    end
  end
  return status
end

return M
