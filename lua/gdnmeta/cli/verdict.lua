-- Exit status of commands that try policies: figures of a policy that failed are not its own.
local format = require "gdnmeta.sim.format"

local M = {}

-- What became of a policy that failed in every step in which it was asked, or in so many in a row that it was
-- switched off; nil of one that planned its run.
local function problem(run)
  local f = run.failure
  if not f or not run.switched_off and run.fallbacks < run.steps then return nil end
  return ("policy %s failed%s, the built-in one planned %s of %s steps: step %d, %s: %s"):format(run.policy,
    run.switched_off and " and was switched off" or "", format.count(math.min(run.fallbacks, run.steps)),
    format.count(run.steps), f.step, f.hook, (f.message:gsub("%c", " ")))
end

--- A line on stderr for each such run.
---@param runs table
---@return integer|nil status 1 where there is one
function M.status(runs)
  local status
  for _, run in ipairs(runs) do
    local line = problem(run)
    if line then
      io.stderr:write("gdnmeta: ", line, "\n")
      status = 1
    end
  end
  return status
end

return M
