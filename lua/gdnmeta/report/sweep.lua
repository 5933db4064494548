-- Policies at several rates: first at the given ones, then each policy's bracket is halved until its
-- highest rate is known closely enough. Who runs the cells is up to the caller.
local domains = require "gdnmeta.native.domains"
local given = require "gdnmeta.native.options"
local max_rate = require "gdnmeta.report.max_rate"
local load = require "gdnmeta.sim.requests"
local scenario = require "gdnmeta.sim.scenario"
local foreign_text = require "gdnmeta.native.foreign_text"

local number, of_type = domains.number, domains.of_type

local M = {}

local ROUNDS = 20 -- of halving, after which rounding is all that is left

--- Cells of a grid, rate by rate.
---@param policies table
---@param rates table
---@return table cells list of { policy, rate }
function M.grid(policies, rates)
  local cells = {}
  for _, rate in ipairs(rates) do
    for _, policy in ipairs(policies) do cells[#cells + 1] = { policy = policy, rate = rate } end
  end
  return cells
end

--- Half to twice the rate that a workload has of its own.
---@param options table of sim.run
---@return table|nil rates, string? message
function M.own_rates(options)
  local o = { seed = 1 }
  for name, value in pairs(options) do o[name] = value end
  local requests, message = load.requests(o)
  if not requests then return nil, message end
  if not requests.rate then return nil, "the workload has no rate of its own, want rates" end
  local rates = {}
  for i, factor in ipairs { 0.5, 0.75, 1, 1.25, 1.5, 2 } do rates[i] = requests.rate * factor end
  return rates
end

-- Each policy once.
local function distinct(policies)
  local list, seen = {}, {}
  for _, policy in ipairs(policies) do
    if not seen[policy] then list[#list + 1] = policy end
    seen[policy] = true
  end
  return list
end

--- What each policy is called: by its run's name, or where several have that one, by its path or place.
---@param policies table
---@param runs table one of each policy, in their order
---@return table label policy -> text
function M.labels(policies, runs)
  local count, label = {}, {}
  for i = 1, #policies do count[runs[i].policy] = (count[runs[i].policy] or 0) + 1 end
  for i, policy in ipairs(policies) do
    local name = runs[i].policy
    local told = type(policy) == "string" and foreign_text.long(policy) or ("%s %d"):format(name, i)
    label[policy] = count[name] == 1 and name or told
  end
  return label
end

--- Run the grid, then close the brackets; policies go side by side.
---@param policies table
---@param rates table
---@param share number of requests that must meet their targets
---@param width number by which the highest rate may be off, as a share of it
---@param run_cells function list of cells -> list of runs in the same order, or nil and a message
---@param label? table policy -> what it is called; nil: as labels() has it
---@return table|nil runs sorted by policy and rate
---@return string? message
function M.search(policies, rates, share, width, run_cells, label)
  local runs, of = {}, {} -- of: a policy's runs
  policies = distinct(policies)
  local cells = M.grid(policies, rates)
  for round = 1, ROUNDS do
    local more, message = run_cells(cells)
    if not more then return nil, message end
    label = label or M.labels(policies, more)
    for i, run in ipairs(more) do
      local policy = cells[i].policy
      run.policy = label[policy]
      runs[#runs + 1], of[policy] = run, of[policy] or {}
      table.insert(of[policy], run)
    end
    cells = {}
    for _, policy in ipairs(policies) do
      local rate = max_rate.next(max_rate.bracket(of[policy], of[policy][1].policy, share), width, round)
      if rate then cells[#cells + 1] = { policy = policy, rate = rate } end
    end
    if #cells == 0 then break end
  end
  max_rate.sort(runs)
  return runs
end

local SPEC = {
  policies = { { "fcfs" }, of_type "table" }, rates = { nil, of_type "table" },
  attainment = { 0.9, number(1e-4, 1) }, precision = { 0.02, number(1e-4, 1) },
}
local OWN = { "policies", "rates", "attainment", "precision" }
for name in pairs(scenario.OPTIONS) do SPEC[name] = {} end -- sim.run checks them
SPEC.policy, SPEC.rate = nil, nil

-- A fault of ours says where it is.
local function has_place(refusal)
  return type(refusal) ~= "string" or refusal:find "^[^:\n]*%.lua:%d+: " ~= nil
end

--- gdn.sim.sweep: policies, rates, attainment and precision (shares of 1), and options of sim.run.
---@param opts table
---@return table|nil runs
---@return table|string highest policy -> { good, bad, run }, or the message
function M.run(opts)
  local options, o = given.parse("sim.sweep", opts, SPEC), {}
  for _, name in ipairs(OWN) do o[name], options[name] = options[name], nil end
  local rates, message = o.rates, nil
  if not rates then rates, message = M.own_rates(options) end
  if not rates then return nil, message end
  if #o.policies == 0 or #rates == 0 then error("sim.sweep: want a policy and a rate at least", 2) end
  local refusal -- of sim.run, without a place: sim.sweep's caller made the mistake
  local function run_each(cells)
    local list = {}
    for i, cell in ipairs(cells) do
      options.policy, options.rate = cell.policy, cell.rate
      local ok, run, why = pcall(require("gdnmeta.sim.simulator").run, options)
      if not ok then
        refusal = run
        return nil
      end
      if not run then return nil, why end
      list[i] = run
    end
    return list
  end
  local runs
  runs, message = M.search(o.policies, rates, o.attainment, o.precision, run_each)
  if refusal ~= nil then error(refusal, has_place(refusal) and 0 or 2) end
  if not runs then return nil, message end
  local highest = {}
  for _, policy in ipairs(max_rate.policies(runs)) do
    highest[policy] = max_rate.bracket(runs, policy, o.attainment)
  end
  return runs, highest
end

return M
