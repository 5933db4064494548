-- How long a step takes, in milliseconds:
--
--   T = c0 + max(c_w, c_tok * N) + c_pf * P + c_seq * B + c_ctx * C + c_att * A + c_draft * k [+ c_eager]
--
--   N  tokens with padding          P  prefill tokens          B  rows          k  drafts a row, at most
--   C  context of the decode rows   A  sum over prefill rows of n * context + n^2 / 2 (attention pairs)
--   c_eager is paid by steps larger than any captured graph, c_cpu by every step: on top of T in
--   order, hidden behind it when the host is a step ahead (async).
-- c_w is the time to read the weights once: below c_w / c_tok tokens a step costs the same.
local given = require "gdnmeta.sim.given"

local TERM = { 0, { 0, 1e6 } }
local SPEC = {
  c0 = TERM, c_w = TERM, c_tok = TERM, c_pf = TERM, c_seq = TERM, c_ctx = TERM, c_att = TERM,
  c_draft = TERM, c_eager = TERM, c_cpu = TERM,
  async = { false, "boolean" },
}

local Cost = {}
Cost.__index = Cost

local M = {}

--- Milliseconds of a step on the device.
---@param tokens integer N
---@param prefill integer P
---@param rows integer B
---@param context number C
---@param attention number A
---@param drafts integer k
---@param eager boolean
---@return number
function Cost:device_ms(tokens, prefill, rows, context, attention, drafts, eager)
  return self.c0 + math.max(self.c_w, self.c_tok * tokens) + self.c_pf * prefill + self.c_seq * rows
    + self.c_ctx * context + self.c_att * attention + self.c_draft * drafts + (eager and self.c_eager or 0)
end

--- Milliseconds from a step's start to its results, the host's share included.
---@return number
function Cost:ms(tokens, prefill, rows, context, attention, drafts, eager)
  local device = self:device_ms(tokens, prefill, rows, context, attention, drafts, eager)
  if self.async then return math.max(device, self.c_cpu) end
  return device + self.c_cpu
end

--- What a policy may ask beforehand: milliseconds of a step of `rows` decodes and, of its tokens,
--- a prefill of those beyond one a row.
---@param tokens integer
---@param rows integer
---@return number ms
function Cost:predict(tokens, rows)
  return self:ms(tokens, math.max(0, tokens - rows), rows, 0, 0, 0, false)
end

--- The most prefill tokens that a step may take besides `rows` decodes to end within `ms`.
---@param ms number
---@param rows? integer default 0
---@return integer tokens 0 when the decodes alone take longer
function Cost:tokens_within(ms, rows)
  rows = rows or 0
  local low, high = 0, 2^24
  if self:predict(rows + high, rows) <= ms then return high end
  while high - low > 1 do -- predict grows with tokens
    local middle = math.floor((low + high) / 2)
    if self:predict(rows + middle, rows) <= ms then low = middle else high = middle end
  end
  return low
end

--- A model from its coefficients, in milliseconds; those not given are 0.
---@param coefficients table
---@return table cost
function M.new(coefficients)
  return setmetatable(given.parse("cost.new", coefficients, SPEC), Cost)
end

--- Coefficients from text: `c0=12,c_seq=0.02`.
---@param text string
---@return table|nil coefficients, string? message
function M.parse(text)
  local coefficients = {}
  for part in (text .. ","):gmatch "([^,]*)," do
    local name, value = part:match "^%s*([%w_]+)%s*=%s*(%S+)%s*$"
    local entry = name and SPEC[name]
    if entry ~= TERM then
      return nil, ("%q is no coefficient, want name=milliseconds such as c0=12"):format(part)
    end
    if coefficients[name] then return nil, name .. " stands there twice, want it once" end
    local ms = value:find "^[%d.]+[eE]?[+-]?%d*$" and tonumber(value) -- no 0x10, nan, inf
    if not ms or not (ms >= 0 and ms <= 1e6) then
      return nil, ("%s = %s, want milliseconds in 0 .. 1000000"):format(name, value)
    end
    coefficients[name] = ms
  end
  return coefficients
end

return M
