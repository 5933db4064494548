-- How many tokens a request may take: what is left of it, cut by every limit but the pools.
local floor, min, max = math.floor, math.min, math.max

local Sizing = {}
Sizing.__index = Sizing

--- Does it want one token and its drafts, rather than a stretch of text?
---@return boolean
function Sizing:is_decode(i)
  local r = self.requests
  local computed = r.computed[i]
  return computed >= r.prompt[i] and computed + 1 >= r.known[i] + r.placeholders[i]
end

--- May it run beside the steps in flight? Not when they alone may bring it to its end, nor when nobody
--- could say where its state lies.
---@return boolean
function Sizing:may_run(i)
  local r = self.requests
  local pending, known = r.pending[i], r.known[i]
  if pending == 0 then return true end
  if known + pending >= self.max_model_len or known - r.prompt[i] + pending >= r.max_tokens[i] then
    return false
  end
  return self.optimistic or r.placeholders[i] == pending
end

--- Drafts of a decode, at most `drafts`; below 0: not even its own token fits.
---@return integer drafts, string why
function Sizing:drafts(i, drafts, tokens_left)
  local room = self.max_model_len - 2 - self.requests.computed[i]
  if room < drafts then drafts = room end
  if tokens_left <= drafts then return tokens_left - 1, "budget" end
  return drafts, "length"
end

-- Mode align: chunks end on block boundaries, so that a block's state is the state at its end. From the
-- last boundary on the rest may be cut anywhere. With speculation that is one block earlier.
local function align(self, computed, known, n)
  local block = self.block
  local last = max(floor(known / block) * block - (self.num_spec > 0 and block or 0), 0)
  if computed >= last then return n end
  if computed + n >= last then return last - computed end
  return floor(n / block) * block
end

--- Tokens of a prefill chunk, at most `wanted`; 0 when it cannot go on now.
---@return integer n, string? why
function Sizing:chunk(i, wanted, tokens_left)
  local r = self.requests
  local computed, known = r.computed[i], r.known[i]
  local rest = known - computed
  local n = min(rest, wanted)
  if not self.chunked then
    if n < rest or rest > tokens_left then return 0, "budget" end
    return rest
  end
  if self.threshold > 0 then n = min(n, self.threshold) end
  n = min(n, tokens_left)
  if n <= 0 then return 0, "budget" end
  if not self.align then return n end
  n = align(self, computed, known, n)
  if n == 0 then return 0, "align" end
  return n
end

local M = {}

---@param limits table max_model_len, chunked, threshold, align, block, num_spec, optimistic
function M.new(requests, limits)
  limits.requests = requests
  return setmetatable(limits, Sizing)
end

return M
