-- State slots that running requests will need before they can go on, in mode align: each of them the columns
-- of a step with all its drafts, for a new block besides the one that it leaves. An admission leaves them to
-- those that run, which would else evict one another in turn and compute all over again.
-- With drafts a request needs no slot beyond these to come into a new block: it goes there with one draft
-- less. Without, it holds two for a step, so that some are kept for those that move: one for each prompt of
-- which a step can hold a chunk, and as many as decodes come to a boundary in a step on average, ends of
-- prompts among them. Who finds none in a step has it a few steps later, for of a slot kept so a block's
-- steps have no more uses than steps.
local plans = require "gdnmeta.engine.plan"

local ceil, floor, max, min = math.ceil, math.floor, math.max, math.min
local PREEMPTED = plans.PREEMPTED

local Upkeep = {}
Upkeep.__index = Upkeep

-- Tokens that it ever has a state of.
local function length(self, i)
  local r = self.requests
  return min(r.prompt[i] + r.max_tokens[i] - 1, self.engine.token_limits.max_model_len - 1)
end

--- Slots a group that a request holds between two steps, never more than it ever needs.
---@return integer
function Upkeep:share(i)
  local columns = floor((length(self, i) - 1) / self.block) + 1
  if self.requests.max_tokens[i] > 1 then columns = columns + self.num_spec end
  return min(1 + self.num_spec, columns)
end

-- Add a request to what is counted, or take it out: sign 1 or -1. n: tokens of it that the plan has.
local function count(self, sums, i, n, sign)
  local r, e, share = self.requests, self.engine, self:share(i)
  sums.lacking = sums.lacking + sign * (share - e.states:held_slots(i))
  if self.num_spec > 0 then return end
  local computed = r.computed[i]
  if floor((length(self, i) - 1) / self.block) == floor(max(computed - 1, 0) / self.block) then return end
  if r.known[i] - computed - n > self.block then
    sums.prompts = sums.prompts + sign
  else
    sums.decodes = sums.decodes + sign
  end
end

local function clear(sums) sums.lacking, sums.prompts, sums.decodes = 0, 0, 0 end

local function count_running(self)
  local e, mark = self.engine, self.requests.mark
  clear(self.sums)
  for at = 0, e.num_running - 1 do
    local i = e.running[at]
    if mark[i] ~= PREEMPTED then count(self, self.sums, i, 0, 1) end
  end
  self.is_counted = true
end

--- A plan begins.
function Upkeep:begin()
  self.is_counted = false
  clear(self.newcomers)
end

--- The running requests are others now.
function Upkeep:forget() self.is_counted = false end

--- A waiting request comes in with n tokens, or others leave it its room.
function Upkeep:add(i, n)
  if self.align then count(self, self.newcomers, i, n, 1) end
end

--- One of those that run would leave. forget() follows.
function Upkeep:leave(i)
  if not self.align then return end
  if not self.is_counted then count_running(self) end -- this may be the first call: i is among those that run
  count(self, self.sums, i, 0, -1)
end

--- Running requests but i that the plan has not come to.
---@return integer
function Upkeep:unplanned(i)
  local e, mark, n = self.engine, self.requests.mark, 0
  for at = 0, e.num_running - 1 do
    if mark[e.running[at]] == 0 and e.running[at] ~= i then n = n + 1 end
  end
  return n
end

--- Slots that are lacking, of `free` ones, to those that run, those that came, and request i that begins with
--- n tokens; 0 or less: they suffice.
---@return integer
function Upkeep:lacks(i, n, free)
  local e, sums, new = self.engine, self.sums, self.newcomers
  if not self.align or free >= (e.max_num_seqs + 1) * (2 + self.num_spec) then return 0 end
  if not self.is_counted then count_running(self) end
  count(self, new, i, n, 1)
  local prompts, decodes = sums.prompts + new.prompts, sums.decodes + new.decodes
  local moving = min(prompts, self.most_chunks) + ceil(decodes / self.block)
  local needed = sums.lacking + new.lacking + min(prompts + decodes, moving)
  count(self, new, i, n, -1)
  return needed - free
end

---@return boolean
function Upkeep:suffices(i, n, free) return self:lacks(i, n, free) <= 0 end

local M = {}

function M.new(engine)
  local self = setmetatable({
    engine = engine, requests = engine.requests, align = engine.align, block = engine.block,
    num_spec = engine.num_spec, most_chunks = max(floor(engine.max_num_batched_tokens / engine.block), 1),
    is_counted = false, sums = {}, newcomers = {},
  }, Upkeep)
  clear(self.newcomers)
  return self
end

return M
