-- Made-up workloads: Poisson arrivals, lognormal prompt and output lengths. The same options give
-- the same requests on every machine: the random numbers are our own, and arrivals and lengths are
-- rounded to whole microseconds and tokens, far above the last bit in which libms differ.
local check = require "gdnmeta.check"
local bit = require "bit"

local M = {}

-- The defaults resemble a public chat trace: 5.5 requests a second, prompts of 1,154 and outputs of
-- 210 tokens on average. The mean of a lognormal is median * exp(sigma^2 / 2), before the limits.
local DEFAULTS = {
  seed = 1,
  requests = 2000,
  rate = 5.5, -- arrivals a second
  prompt_median = 700, prompt_sigma = 1.0, prompt_max = 16384, -- tokens; sigma of log(tokens)
  output_median = 150, output_sigma = 0.82, output_max = 2048,
}

-- name -> least, most, whole numbers only
local RANGES = {
  seed = { 0, 2^32 - 1, true },
  requests = { 1, 1e7, true },
  rate = { 1e-6, 1e6 },
  prompt_median = { 1, 2^30 - 1 }, prompt_sigma = { 0, 10 }, prompt_max = { 1, 2^30 - 1, true },
  output_median = { 1, 2^30 - 1 }, output_sigma = { 0, 10 }, output_max = { 1, 2^30 - 1, true },
}

--- Random numbers in the open interval (0, 1), 32 bits each. The generator adds, rotates and xors
--- (Jenkins' small fast one), which LuaJIT's 32-bit operations do exactly.
---@param seed integer 0 .. 2^32 - 1
---@return function
function M.random(seed)
  local a = bit.tobit(0xf1ea5eed)
  local b, c, d = bit.tobit(seed), bit.tobit(seed), bit.tobit(seed)
  local function draw()
    local e = bit.tobit(a - bit.rol(b, 27))
    a = bit.bxor(b, bit.rol(c, 17))
    b = bit.tobit(c + d)
    c = bit.tobit(d + e)
    d = bit.tobit(e + a)
    return (d % 2^32 + 0.5) / 2^32
  end
  for _ = 1, 20 do draw() end
  return draw
end

local function known()
  local names = {}
  for name in pairs(RANGES) do names[#names + 1] = name end
  table.sort(names)
  return table.concat(names, ", ")
end

local function options(given)
  local o = {}
  for name, value in pairs(given) do
    local range = RANGES[name]
    if not range then
      error(("workload.generate: unknown option %s, want one of %s"):format(check.word(name), known()), 3)
    end
    local least, most, whole = range[1], range[2], range[3]
    if type(value) ~= "number" or not (value >= least and value <= most) or whole and value % 1 ~= 0 then
      error(("workload.generate: %s = %s, want %s in %.15g .. %.15g"):format(
        name, check.show(value), whole and "an integer" or "a number", least, most), 3)
    end
    o[name] = value
  end
  for name, value in pairs(DEFAULTS) do
    if o[name] == nil then o[name] = value end
  end
  return o
end

--- Requests { arrival = seconds, prompt = tokens, output = tokens } by arrival, the first at 0.
--- Options and their defaults stand in DEFAULTS above.
---@param opts? table
---@return table requests
function M.generate(opts)
  if opts ~= nil and type(opts) ~= "table" then
    error("workload.generate: options are a table, not a " .. type(opts), 2)
  end
  local o = options(opts or {})
  local draw = M.random(o.seed)
  local function lognormal(median, sigma, max) -- Box-Muller, its cosine half
    local u, v = draw(), draw()
    local z = math.sqrt(-2 * math.log(u)) * math.cos(2 * math.pi * v)
    return math.max(1, math.min(max, math.floor(median * math.exp(sigma * z) + 0.5)))
  end
  local requests, us = {}, 0
  for i = 1, o.requests do
    requests[i] = {
      arrival = us / 1e6,
      prompt = lognormal(o.prompt_median, o.prompt_sigma, o.prompt_max),
      output = lognormal(o.output_median, o.output_sigma, o.output_max),
    }
    us = us + math.floor(-math.log(draw()) / o.rate * 1e6 + 0.5)
  end
  return requests
end

return M
