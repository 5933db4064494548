-- The pages: which pictures stand on the report of a simulation and of a sweep.
local identical_runs = require "gdnmeta.report.identical_runs"
local cache_charts = require "gdnmeta.report.cache_charts"
local charts = require "gdnmeta.report.charts"
local max_rate = require "gdnmeta.report.max_rate"
local html = require "gdnmeta.report.html"
local text = require "gdnmeta.report.text"

local M = {}

-- Collects pictures, and for each reason the names of those that could not be drawn for it.
local function gallery()
  local self = { list = {}, reasons = {} }
  function self.add(figure, message, title)
    if figure then
      self.list[#self.list + 1] = figure
      return
    end
    local names = self.reasons[message]
    if not names then
      names = {}
      self.reasons[message], self.reasons[#self.reasons + 1] = names, message
    end
    names[#names + 1] = title
  end
  function self.missing()
    local sentences = {}
    for i, message in ipairs(self.reasons) do
      sentences[i] = ("Missing charts (%s): %s. The tables have the numbers."):format(
        message, table.concat(self.reasons[message], ", "))
    end
    return sentences
  end
  return self
end

local function footer()
  return ("gdnmeta %s, %s. Simulated times are exact for this seed; times of the host are not."):format(
    require("gdnmeta")._VERSION, jit.version)
end

local function has_cache(runs)
  for _, run in ipairs(runs) do
    if run.cache then return true end
  end
end

--- The page of `gdnmeta simulate`.
---@param runs table
---@param command string that made them
---@return string html
function M.simulate(runs, command)
  local names, g = text.names(runs), gallery()
  local told = identical_runs.names(runs, names)
  g.add(charts.ttft(runs, told))
  g.add(charts.itl(runs, told))
  if has_cache(runs) then g.add(cache_charts.hits(runs, told)) end
  local scale = charts.scale(runs)
  for i, run in ipairs(runs) do g.add(charts.tokens(run, told[i], scale)) end
  g.add(charts.slots(runs, told))
  return html.html {
    title = table.concat(names, " against "),
    runs = runs, figures = g.list, missing = g.missing(), command = command, facts = text.facts(runs),
    calibrated = runs[1].setup.calibrated, footer = footer(),
  }
end

--- The page of `gdnmeta sweep` and `gdnmeta merge`: curves over the rates, and the policies side by
--- side at the highest rate that each sustains.
---@param runs table sorted
---@param share number
---@param command string
---@return string html
function M.sweep(runs, share, command)
  local g, at = gallery(), {}
  for _, policy in ipairs(max_rate.policies(runs)) do
    at[#at + 1] = max_rate.bracket(runs, policy, share).run
  end
  if #at == 0 then at = { runs[1] } end
  local names = identical_runs.names(at, text.names(at))
  g.add(charts.goodput(runs, share))
  g.add(charts.attainment(runs, share))
  g.add(charts.ttft(at, names))
  g.add(charts.itl(at, names))
  if has_cache(at) then g.add(cache_charts.hits(at, names)) end
  return html.html {
    title = "Highest rates of " .. table.concat(max_rate.policies(runs), ", "), runs = at, figures = g.list,
    missing = g.missing(), command = command, facts = text.facts(runs, true), footer = footer(),
    calibrated = runs[1].setup.calibrated, body = html.sweep(runs, text.max_rates(runs, share)),
  }
end

return M
