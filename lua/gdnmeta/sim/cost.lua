-- How long a step takes, in milliseconds:
--
--   reading    W = c_w + c_experts * (1 - (1 - active)^N)     M = c_seq * B + c_state * D + c_ctx * C
--   computing  L = c_tok * N                                  F = c_pf * P + c_att * A
--   T = c0 + R + c_draft * k [+ c_eager]
--   R = max(W, L) + M + F with overlap = 0, max(W + M, L + F) with overlap = 1, between them else
--
--   N  tokens with padding          P  prefill tokens          B  rows
--   k  drafts per row, at most      D  drafts of all rows
--   C  context of the decode rows   A  sum over prefill rows of n * context + n^2 / 2 (attention pairs)
--   c_eager is paid by steps larger than any captured graph. The host's c_cpu + c_cpu_row * B comes on top
--   in order, and is hidden by the device when the host is one step ahead (async).
-- W and L are the linear layers: a step that reads the weights for its decodes computes prompt tokens in the
-- same time. A mixture of experts (c_experts: all of them; active: the share that a token goes to) reads
-- more as N grows. `overlap` says how far the rest is hidden as well.
local args = require "gdnmeta.native.args"
local domains = require "gdnmeta.native.domains"
local options = require "gdnmeta.native.options"
local printed = require "gdnmeta.native.printed"

local number, flag = domains.number, domains.flag

local TERM = { 0, number(0, 1e6) }
local SPEC = {
  c0 = TERM, c_w = TERM, c_experts = TERM, c_tok = TERM, c_pf = TERM, c_seq = TERM, c_state = TERM,
  c_ctx = TERM, c_att = TERM, c_draft = TERM, c_eager = TERM, c_cpu = TERM, c_cpu_row = TERM,
  active = { 0, number(0, 1) }, overlap = { 0, number(0, 1) },
  async = { false, flag },
}

local NAMES = options.names(SPEC):gsub("async, ", "") -- of coefficients

local MOST = 2^24 -- tokens that are looked for

local Cost = {}
Cost.__index = Cost

local M = {}

local max = math.max

-- W: weights that a step of N tokens reads.
local function weights_ms(self, tokens)
  if self.c_experts == 0 then return self.c_w end
  return self.c_w + self.c_experts * (1 - (1 - self.active)^tokens)
end

--- Milliseconds of a step on the device.
---@param tokens integer N
---@param prefill integer P
---@param rows integer B
---@param context number C
---@param attention number A
---@param drafts integer k
---@param eager boolean
---@param drafted integer|nil D, default 0
---@return number
function Cost:device_ms(tokens, prefill, rows, context, attention, drafts, eager, drafted)
  local weights, linear = weights_ms(self, tokens), self.c_tok * tokens
  local memory = self.c_seq * rows + self.c_state * (drafted or 0) + self.c_ctx * context
  local compute = self.c_pf * prefill + self.c_att * attention
  local apart, together = max(weights, linear) + memory + compute, max(weights + memory, linear + compute)
  return self.c0 + (1 - self.overlap) * apart + self.overlap * together + self.c_draft * drafts
    + (eager and self.c_eager or 0)
end

--- Milliseconds from a step's start to its results, the host's share included.
---@return number
function Cost:ms(tokens, prefill, rows, context, attention, drafts, eager, drafted)
  local device = self:device_ms(tokens, prefill, rows, context, attention, drafts, eager, drafted)
  local host = self.c_cpu + self.c_cpu_row * rows
  if self.async then return max(device, host) end
  return device + host
end

--- A policy's estimate: milliseconds of a step of `rows` decodes and, of its tokens,
--- a prefill of those beyond one per row, at the start of a prompt.
---@param tokens integer
---@param rows integer
---@return number ms
function Cost:predict(tokens, rows)
  local prefill = max(0, tokens - rows)
  return self:ms(tokens, prefill, rows, 0, prefill * prefill / 2, 0, false)
end

-- The time is compared in its own unit: a value of predict must fit to the last digit.
local function most_within(self, time, rows, parts, most)
  local low, high = 0, most
  if self:predict(rows + high, rows) / parts <= time then return high end
  while high - low > 1 do -- predict grows with tokens
    local middle = math.floor((low + high) / 2)
    if self:predict(rows + middle, rows) / parts <= time then low = middle else high = middle end
  end
  return low
end

--- The most prefill tokens that a step of `rows` decodes may also take and still end within `ms`.
---@param ms number
---@param rows? integer default 0
---@return integer tokens 0 when the decodes alone take longer
function Cost:tokens_within(ms, rows) return most_within(self, ms, rows or 0, 1, MOST) end

-- Raises at the line of the caller of `method`.
local function check_number(method, name, value)
  if type(value) ~= "number" then
    error(("sim.cost.%s: %s = %s, want a number"):format(method, name, args.show(value)), 3)
  end
end

--- The same questions in seconds, as gdn.engine takes them for `cost`.
---@return table functions predict(tokens, rows), tokens_within(seconds, rows, most)
function Cost:in_seconds()
  return setmetatable({
    predict = function(tokens, rows)
      check_number("predict", "tokens", tokens)
      if rows then check_number("predict", "rows", rows) end
      return self:predict(tokens, rows or 0) / 1000
    end,
    tokens_within = function(seconds, rows, most)
      check_number("tokens_within", "seconds", seconds)
      if rows then check_number("tokens_within", "rows", rows) end
      if most then check_number("tokens_within", "most", most) end
      return most_within(self, seconds, rows or 0, 1000, most or MOST)
    end,
  }, { __tostring = function() return tostring(self) end })
end

function Cost:__tostring() return printed.text("gdnmeta.Cost", self) end

--- A model from its coefficients, in milliseconds; those not given are 0.
---@param coefficients table
---@return table cost
function M.new(coefficients)
  return setmetatable(options.parse("cost.new", coefficients, SPEC), Cost)
end

--- Coefficients from text: `c0=12,c_seq=0.02`.
---@param text string
---@return table|nil coefficients, string? message
function M.parse(text)
  local coefficients = {}
  for part in (text .. ","):gmatch "([^,]*)," do
    local name, value = part:match "^%s*([%w_]+)%s*=%s*(%S+)%s*$"
    local entry = name and SPEC[name]
    if not entry or entry[2] == flag then
      return nil, ("%q is no coefficient, want name=milliseconds such as c0=12, of %s"):format(part, NAMES)
    end
    if coefficients[name] then return nil, name .. " stands there twice, want it once" end
    local n = value:find "^[%d.]+[eE]?[+-]?%d*$" and tonumber(value) -- no 0x10, nan, inf
    local used, wanted = entry[2](n)
    if not used then
      wanted = wanted:gsub("^a number", entry == TERM and "milliseconds" or "a share")
      return nil, ("%s = %s, want %s"):format(name, value, wanted)
    end
    coefficients[name] = used
  end
  return coefficients
end

--- gdn.sim.cost: the `cost` of an engine, from a preset's name or from coefficients.
---@param what string|table
---@return table|nil cost predict(tokens, rows), tokens_within(seconds, rows, most)
---@return string? message
local function call(_, what)
  if type(what) ~= "string" then
    if type(what) ~= "table" then error("sim.cost: want a preset's name or coefficients", 2) end
    return setmetatable(options.parse("sim.cost", what, SPEC), Cost):in_seconds()
  end
  local preset, message = require("gdnmeta.sim.presets").get(what)
  if not preset then return nil, message end
  return M.new(preset.coefficients):in_seconds()
end

return setmetatable(M, { __call = call })
