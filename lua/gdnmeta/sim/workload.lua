-- Made-up workloads: Poisson arrivals, lognormal prompt and output lengths. The same options give
-- the same requests on every machine: the random numbers are our own, and arrivals and lengths are
-- rounded to whole microseconds and tokens, far above the last bit in which libms differ.
local bit = require "bit"
local domains = require "gdnmeta.native.domains"
local options = require "gdnmeta.native.options"

local integer, number = domains.integer, domains.number

local M = {}

-- name -> default, domain. The defaults resemble a public chat trace: 5.5 requests per second, prompts of
-- 1,154 and outputs of 210 tokens on average. The mean of a lognormal is median * exp(sigma^2 / 2), before
-- the limits.
local LENGTH = 2^30 - 1 -- tokens
local SPEC = {
  seed = { 1, integer(0, 2^32 - 1) },
  requests = { 2000, integer(1, 1e7) },
  rate = { 5.5, number(1e-6, 1e6) }, -- arrivals per second
  prompt_median = { 700, number(1, LENGTH) }, prompt_max = { 16384, integer(1, LENGTH) },
  output_median = { 150, number(1, LENGTH) }, output_max = { 2048, integer(1, LENGTH) },
  prompt_sigma = { 1.0, number(0, 10) }, output_sigma = { 0.82, number(0, 10) }, -- of log(tokens)
}

--- Random numbers in the open interval (0, 1), 32 bits each. The generator adds, rotates and xors
--- (Jenkins' small fast one), which LuaJIT's 32-bit operations do exactly.
---@param seed integer of which the lowest 32 bits count
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

--- What is wrong with options of M.generate.
---@param opts table
---@return string|nil message
function M.problem(opts) return select(2, options.read(opts, SPEC)) end

--- Requests { arrival = seconds, prompt = tokens, output = tokens } by arrival, the first at 0.
--- Options and their defaults stand in SPEC above.
---@param opts? table
---@return table requests
function M.generate(opts)
  local o = options.parse("workload.generate", opts, SPEC)
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
