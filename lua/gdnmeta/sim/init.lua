--- The simulator's face: `gdn.sim`. Parts are opened when first used.
local args = require "gdnmeta.native.args"

local M = {}

-- The file of each.
local PARTS = { acceptance = "acceptance", cost = "cost", dialogues = "dialogues", lab = "lab",
                load = "requests", presets = "presets", recorded = "recorded_acceptance", trace = "trace",
                workload = "workload" }

-- `field`: what is read of it first.
local function is_run(value, field) return type(value) == "table" and type(rawget(value, field)) ~= "nil" end

-- A list of runs, `want` says which; raises at the line of the method's caller.
local function check_runs(method, runs, field, fewest, want)
  local is_list = type(runs) == "table" and #runs >= fewest
  for n = 1, is_list and #runs or 0 do is_list = is_list and is_run(runs[n], field) end
  if not is_list then error(("gdnmeta.sim.%s: %s"):format(method, args.wrong("runs", runs, want)), 3) end
end

--- Run a workload through the engine in simulated time; see scenario.lua for the options.
---@param opts table
---@return table|nil run figures, see summary.lua
---@return string? message
function M.run(opts)
  return require("gdnmeta.sim.simulator").run(opts)
end

--- A run, or a list of runs of one workload, as an aligned table with what was run.
---@param runs table
---@return string
function M.report(runs)
  if not is_run(runs, "setup") then check_runs("report", runs, "setup", 1, "a run or a list of runs") end
  return require("gdnmeta.report.text").report(runs)
end

--- How the second run differs from the first, request by request.
---@param runs table two runs of one workload
---@return table|nil fields ttft and e2e: { n, better, worse, p10, p50, p90, mean } of the differences in ms
---@return string? message
function M.compare(runs)
  check_runs("compare", runs, "requests", 2, "a list of two runs of sim.run")
  return require("gdnmeta.report.compare").pair(runs[1], runs[2])
end

--- Run policies at several rates, and find the highest rate that each sustains.
---@param opts table policies, rates, attainment and precision (shares of 1), and options of run
---@return table|nil runs
---@return table|string highest policy -> { good, bad (rates), run (at the good one) }, or the message
function M.sweep(opts)
  return require("gdnmeta.report.sweep").run(opts)
end

--- Fit the step cost to a log of measured steps; run takes the result's coefficients as `cost`.
---@param path string CSV with tokens_padded,prefill_tokens,seqs,ctx_sum,ms
---@return table|nil fit coefficients, n, mape (percent), by_batch
---@return string? message
function M.fit(path)
  if type(path) ~= "string" then error("gdnmeta.sim.fit: " .. args.wrong("path", path, "a string"), 2) end
  return require("gdnmeta.sim.fit").file(path)
end

return setmetatable(M, {
  __tostring = function() return "gdnmeta.sim" end,
  __index = function(self, name)
    if PARTS[name] then
      local part = require("gdnmeta.sim." .. PARTS[name])
      rawset(self, name, part)
      return part
    end
    error("gdnmeta.sim: no field " .. args.show(name), 2)
  end,
})
