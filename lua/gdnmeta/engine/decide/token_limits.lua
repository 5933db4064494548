-- How many tokens a request may take: what is left of it, cut by every limit but the pools.
local requests = require "gdnmeta.engine.requests"

local RUNNING, WAITING = requests.RUNNING, requests.WAITING
local floor, min, max, huge = math.floor, math.min, math.max, math.huge

local TokenLimits = {}
TokenLimits.__index = TokenLimits

--- Does it want one token and its drafts, rather than a stretch of text?
---@return boolean
function TokenLimits:is_decode(i)
  local r = self.requests
  local computed = r.computed[i]
  return computed >= r.prompt[i] and computed + 1 >= r.known[i] + r.placeholders[i]
end

--- May it run while steps are in flight? Not if they alone may finish it, nor if nothing
--- could say where its state lies.
---@return boolean
function TokenLimits:may_run(i)
  if self.sync then return true end
  local r = self.requests
  local pending, known = r.pending[i], r.known[i]
  local left = min(self.max_model_len, r.prompt[i] + r.max_tokens[i]) - known - pending
  -- None pending has no branch of its own: a loop that was compiled for it would be slow for the others.
  return max(left, 1 - pending) >= 1 and (self.optimistic or (r.placeholders[i] - pending) * pending == 0)
end

--- Drafts of a decode, at most `drafts`; below 0: not even its own token fits.
---@return integer drafts, string why
function TokenLimits:drafts(i, drafts, tokens_left)
  local most = self.max_model_len - 2 - self.requests.computed[i]
  if most < drafts then drafts = most end
  if tokens_left <= drafts then return tokens_left - 1, "budget" end
  return drafts, "length"
end

-- The last block boundary that a chunk has to end on. With speculation that is one block earlier.
local function last_boundary(self, known)
  local block = self.block
  return max(floor(known / block) * block - (self.num_spec > 0 and block or 0), 0)
end

-- Mode align: chunks end on block boundaries, so that a block's state is the state at its end. From the
-- last boundary on the rest may be cut anywhere, and so may what a source has left of a block.
local function align(self, computed, known, n)
  local block, last = self.block, last_boundary(self, known)
  if computed >= last then return n end
  if computed % block ~= 0 then return min(n, block - computed % block) end
  return floor(min(n, last - computed) / block) * block
end

--- Tokens of a prefill chunk, at most `wanted`; 0 when it cannot go on now.
---@return integer n, string? why
function TokenLimits:chunk(i, wanted, tokens_left)
  local r = self.requests
  local computed, known = r.computed[i], r.known[i]
  local rest = known - computed
  local n = min(rest, wanted)
  if not self.chunked then
    if n < rest or rest > tokens_left then return 0, "budget" end
    return rest
  end
  n = min(n, self.limit, tokens_left)
  if self.prefix then n = self.prefix:cut_chunk(i, n) end
  if n <= 0 then return 0, "budget" end
  if not self.align then return n end
  n = align(self, computed, known, n)
  if n == 0 then return 0, "align" end
  return n
end

--- The fewest tokens that chunk() ever gives it but 0.
---@return integer
function TokenLimits:least(i)
  local r = self.requests
  local computed, known = r.computed[i], r.known[i]
  if not self.chunked then return known - computed end
  if not self.align or computed % self.block ~= 0 then return 1 end
  return max(min(self.block, last_boundary(self, known) - computed), 1)
end

--- Tokens that decodes leave it at times: the fewest it can take, and an eighth of a step.
---@return integer
function TokenLimits:share(i, budget)
  local r = self.requests
  return max(self:least(i), min(r.known[i] - r.computed[i], floor(budget / 8)))
end

--- Does it wait or run, with text to compute?
---@return boolean
function TokenLimits:wants_text(i)
  local state = self.requests.state[i]
  return (state == RUNNING or state == WAITING) and not self:is_decode(i)
end

--- A step begins: the threshold applies to prompts while others wait or run.
---@param running ffi.cdata* numbers of the running requests
---@param num_running integer
---@param num_waiting integer
function TokenLimits:begin(running, num_running, num_waiting)
  self.limit = huge
  if self.threshold == 0 then return end
  local prompts = num_waiting
  for at = 0, num_running - 1 do
    if not self:is_decode(running[at]) then prompts = prompts + 1 end
  end
  if prompts > 1 then self.limit = self.threshold end
end

local M = {}

---@param limits table max_model_len, chunked, threshold, align, block, num_spec, optimistic; sync: no step is
--- in flight where another is planned
function M.new(columns, limits)
  limits.requests, limits.limit = columns, huge
  return setmetatable(limits, TokenLimits)
end

return M
