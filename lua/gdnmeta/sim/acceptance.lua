-- How many drafts a step accepts. Rates are unconditional and by position: rates[j] is the chance that
-- at least j drafts are accepted, as servers publish them. Each request draws from its own stream, so
-- that request 7 meets the same luck under every policy.
local domains = require "gdnmeta.native.domains"
local options = require "gdnmeta.native.options"
local workload = require "gdnmeta.sim.workload"

local integer, number, of_type = domains.integer, domains.number, domains.of_type

local SPEC = {
  drafts = { nil, integer(0, 64) }, -- most drafts of a step
  rates = { nil, of_type "table" }, -- one per position, falling
  mean = { nil, number(1, 65) }, -- or tokens per step on average, the verified one included
  recorded = { nil, of_type "table" }, -- or lists of tokens emitted per step, one list per request, in turn
  spread = { 0, number(0, 64) }, -- standard deviation between requests of the mean tokens per step
  half_context = { math.huge, number(1, math.huge) }, -- tokens of context that halve the rates
  seed = { 1, integer(0, 2^32 - 1) },
}

local M = {}

local function mean_of(rates, exponent)
  local mean = 1
  for _, p in ipairs(rates) do mean = mean + p^exponent end
  return mean
end

-- The x in low .. high where the falling function f reaches y, to the last digit.
local function bisect(f, y, low, high)
  while true do
    local x = (low + high) / 2
    if x <= low or x >= high then return x end
    if f(x) > y then low = x else high = x end
  end
end

--- Rates whose mean is `mean` tokens per step when each next draft is accepted with the same chance.
---@param mean number 1 .. drafts + 1
---@param drafts integer
---@return table rates
function M.rates_of_mean(mean, drafts)
  local chance = 1 - bisect(function(miss)
    local sum, p = 1, 1
    for _ = 1, drafts do
      p = p * (1 - miss)
      sum = sum + p
    end
    return sum
  end, mean, 0, 1)
  local rates = {}
  for j = 1, drafts do rates[j] = chance^j end
  return rates
end

local function check_rates(rates, drafts)
  if #rates < drafts then
    return ("rates has %d numbers, want %d, one per draft"):format(#rates, drafts)
  end
  for j, p in ipairs(rates) do
    local most = rates[j - 1] or 1
    if type(p) ~= "number" or not (p >= 0 and p <= most) then
      return ("rates[%d] = %s, want a number in 0 .. %.6g"):format(j, tostring(p), most)
    end
  end
end

local function check_recorded(lists)
  if #lists == 0 then return "recorded is empty, want lists of tokens emitted per step" end
  for i, list in ipairs(lists) do
    if type(list) ~= "table" or #list == 0 then return ("recorded[%d] is empty"):format(i) end
    for j, n in ipairs(list) do
      if type(n) ~= "number" or n < 1 or n % 1 ~= 0 then
        return ("recorded[%d][%d] = %s, want an integer >= 1"):format(i, j, tostring(n))
      end
    end
  end
end

-- The draw of one request: accepted = draw(drafts, context).
local function recorded_draw(list)
  local at = 0
  return function(drafts)
    at = at % #list + 1
    return math.min(list[at] - 1, drafts)
  end
end

-- One uniform number per step: it is below rates[j] with that probability, and rates fall.
local function rates_draw(rates, random, half_context)
  return function(drafts, context)
    local u = random() * 2^(context / half_context)
    local n = 0
    while n < drafts and u < rates[n + 1] do n = n + 1 end
    return n
  end
end

-- Lognormal in the mean tokens per step, reached by raising every rate to one power.
local function vary(rates, mean, spread, random)
  local sigma2 = math.log(1 + (spread / mean)^2)
  local z = math.sqrt(-2 * math.log(random())) * math.cos(2 * math.pi * random())
  local own = mean * math.exp(math.sqrt(sigma2) * z - sigma2 / 2)
  local exponent = 2^bisect(function(e) return mean_of(rates, 2^e) end, own, -10, 10)
  local varied = {}
  for j, p in ipairs(rates) do varied[j] = p^exponent end
  return varied
end

--- A model: model(ordinal) gives the draw of the ordinal-th request, and draw(drafts, context tokens)
--- how many of its next step's drafts are accepted.
---@param opts table see SPEC
---@return function model
function M.new(opts)
  local o = options.parse("acceptance.new", opts, SPEC)
  local function refuse(message) error("acceptance.new: " .. message, 3) end
  local kinds = (o.rates and 1 or 0) + (o.mean and 1 or 0) + (o.recorded and 1 or 0)
  if kinds ~= 1 then refuse "want one of rates, mean, recorded" end
  if o.recorded then
    local message = check_recorded(o.recorded)
    if message then refuse(message) end
    return function(ordinal) return recorded_draw(o.recorded[(ordinal - 1) % #o.recorded + 1]) end
  end
  if not o.drafts then refuse "drafts is missing" end
  if o.mean and o.mean > o.drafts + 1 then
    refuse(("mean = %.6g, want at most %d, drafts + 1"):format(o.mean, o.drafts + 1))
  end
  local rates = o.rates or M.rates_of_mean(o.mean, o.drafts)
  local message = check_rates(rates, o.drafts)
  if message then refuse(message) end
  local mean = mean_of(rates, 1)
  return function(ordinal)
    local random = workload.random((o.seed * 65537 + ordinal * 2654435) % 2^32)
    local own = o.spread > 0 and vary(rates, mean, o.spread, random) or rates
    return rates_draw(own, random, o.half_context)
  end
end

return M
