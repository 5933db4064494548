-- What requests will hold of the attention cache soon: their known text, and the next `kv_headroom` tokens
-- of their answers. An admission leaves it to those that run, so that they need not compute again what they
-- had to leave.
local plans = require "gdnmeta.engine.plan"

local ceil, max, min = math.ceil, math.max, math.min
local PREEMPTED = plans.PREEMPTED

local Outlook = {}
Outlook.__index = Outlook

--- Blocks that a request will hold soon, never more than it ever needs.
---@return integer
function Outlook:blocks(i)
  local r, e = self.requests, self.engine
  local known = r.known[i]
  local most = min(r.prompt[i] + r.max_tokens[i] - 1, e.token_limits.max_model_len - 1)
  return ceil(max(known, min(known + self.headroom, most)) / e.states.kv_block)
end

--- Blocks of them that a waiting request does not share with others.
---@return integer
function Outlook:lack(i) return self:blocks(i) - self.requests.kv_shared[i] end

--- Blocks that the running requests lack for that, those that the plan evicts left out.
---@return integer
function Outlook:promised()
  local r, e, sum = self.requests, self.engine, 0
  local running, mark, held = e.running, r.mark, r.kv_blocks
  for at = 0, e.num_running - 1 do
    local i = running[at]
    if mark[i] ~= PREEMPTED then sum = sum + max(self:blocks(i) - held[i], 0) end
  end
  return sum
end

--- The same where the plan evicts none: nothing of it changes within a step, so it is counted once.
---@return integer
function Outlook:promised_to_all()
  local e = self.engine
  if self.counted_in ~= e.step_number then self.to_all, self.counted_in = self:promised(), e.step_number end
  return self.to_all
end

--- True if no request runs once the plan so far is committed.
function Outlook:is_alone(plan)
  return self.engine.num_running - plan.num_victims + plan.admitted == 0 and not plan.has_passed
end

local M = {}

---@param engine table
---@param headroom integer tokens per request
function M.new(engine, headroom)
  return setmetatable({ engine = engine, requests = engine.requests, headroom = headroom }, Outlook)
end

return M
