-- Draws tokens from a model's logits. The k-th token of an answer takes the k-th number of its seed, so that
-- an answer is the same in every batch, with and without drafts, and after a preemption.
local bit = require "bit"
local tobit, bxor, lshift, rshift = bit.tobit, bit.bxor, bit.lshift, bit.rshift
local exp = math.exp

local Sampler = {}
Sampler.__index = Sampler

-- FNV-1a: seeds that are close begin far apart. A product of 32 and 9 bits is exact.
local function state_of(seed)
  local hash, text = tobit(2166136261), ("%.17g"):format(seed)
  for n = 1, #text do
    hash = bxor(hash, text:byte(n))
    hash = tobit(hash * 403 + lshift(hash, 24))
  end
  return hash == 0 and 1 or hash
end

-- Marsaglia's xorshift: it never comes to 0.
local function next_state(state)
  state = bxor(state, lshift(state, 13))
  state = bxor(state, rshift(state, 17))
  return bxor(state, lshift(state, 5))
end

-- The k-th number of the seed, in 0 .. 1, 1 excluded.
local function number(self, k)
  local numbers = self.numbers
  while #numbers < k do
    self.state = next_state(self.state)
    numbers[#numbers + 1] = self.state % 2 ^ 32 / 2 ^ 32
  end
  return numbers[k]
end

-- Weights of the likeliest candidates that together have the share top_p; the others get none.
local function cut(self, weights, n, total)
  local order = {}
  for c = 1, n do order[c] = c end
  table.sort(order, function(a, b)
    if weights[a] ~= weights[b] then return weights[a] > weights[b] end
    return a < b
  end)
  local kept = 0
  for place, c in ipairs(order) do
    if place > 1 and kept >= self.top_p * total then
      weights[c] = 0
    else
      kept = kept + weights[c]
    end
  end
  return kept
end

--- Draw the k-th token of an answer.
---@param logits ffi.cdata* double[], those of the token begin at `from`
---@param from integer
---@param n integer candidates
---@param k integer from 1
---@return integer choice 0 .. n - 1
function Sampler:draw(logits, from, n, k)
  local most, weights, total = logits[from], self.weights, 0
  for c = from, from + n - 1 do most = math.max(most, logits[c]) end
  for c = 1, n do
    weights[c] = exp((logits[from + c - 1] - most) / self.temperature)
    total = total + weights[c]
  end
  if self.top_p < 1 then total = cut(self, weights, n, total) end
  local left, last = number(self, k) * total, 0
  for c = 1, n do
    if weights[c] > 0 then
      last, left = c - 1, left - weights[c]
      if left < 0 then break end
    end
  end
  return last
end

local M = {}

--- What draws the tokens of one answer; nil where it is greedy.
---@param temperature number|nil 0: always the likeliest
---@param top_p number|nil share of the probability that candidates are taken from, the likeliest first
---@param seed number
---@return table|nil sampler
function M.new(temperature, top_p, seed)
  if not temperature or temperature <= 0 then return nil end
  return setmetatable({ temperature = temperature, top_p = top_p or 1, state = state_of(seed), numbers = {},
                        weights = {} }, Sampler)
end

return M
