-- Do waiting requests fit a plan, with what they will need soon? Parts of the object of plan.lua.
local piece = require("gdnmeta.native.trace_cuts").piece

local Plan = {}

--- Blocks of attention cache that are free and that no running request will need soon; math.huge if none
--- runs, because a request alone needs no more than its own blocks.
function Plan:kv_spare()
  local outlook = self.outlook
  if outlook:is_alone(self) then return math.huge end
  if self.kv_promised < 0 then
    self.kv_promised = self.num_victims == 0 and outlook:promised_to_all() or outlook:promised()
  end
  return self.kv_free - self.kv_promised - self.kv_newcomers
end

--- Could a waiting request start with n tokens? Its whole known text must fit the attention cache, with what
--- it and the running ones will need soon, of that and of state slots. States that others left make room.
---@return boolean|nil ok, string? why
function Plan:fits(i, n)
  local ok, why = self:fits_now(i, n)
  local prefix = self.states.prefix
  if ok or why == "seqs" or not prefix or not prefix:make_way(i, n) then return ok, why end
  return self:fits_now(i, n)
end

--- The same as things stand, with the states that others left.
---@return boolean|nil ok, string? why
Plan.fits_now = piece(function(self, i, n)
  local r = self.requests
  if self.seqs_left < 1 then return nil, "seqs" end
  if self.states.limited then
    if self.states:missing_kv(i, r.known[i]) + self.watermark > self.kv_left - self.kv_aside then
      return nil, "kv"
    end
    if self.outlook:lack(i) + self.watermark > self:kv_spare() then return nil, "kv" end
  end
  if self.states:needs(i, r.computed[i] + n, 0) > self.slots_left - self.slots_aside
    or not self.outlook:is_alone(self) and not self.upkeep:suffices(i, n, self.slots_free) then
    return nil, "slots"
  end
  return true
end)

--- The state cache gave something back.
---@return boolean has it?
function Plan:has_more(slots, kv)
  self.slots_left, self.slots_free = self.slots_left + slots, self.slots_free + slots
  self.kv_left, self.kv_free = self.kv_left + kv, self.kv_free + kv
  return slots > 0 or kv > 0
end

--- Would it, with so many slots and blocks free, and blocks that no request will need soon?
---@return boolean
function Plan:would_fit(i, n, slots, kv, spare)
  local r = self.requests
  if self.states:needs(i, r.computed[i] + n, 0) > slots then return false end
  if not self.states.limited then return true end
  return self.states:missing_kv(i, r.known[i]) + self.watermark <= kv
    and self.outlook:lack(i) + self.watermark <= spare
end

--- Blocks of attention cache that a running request will need soon beyond what it holds.
function Plan:kv_growth(i)
  return math.max(self.outlook:blocks(i) - self.requests.kv_blocks[i], 0)
end

--- Admit a waiting request with its first n tokens.
---@return boolean|nil ok, string? why
function Plan:admit(i, n)
  local ok, why = self:fits(i, n)
  if ok then self:let_in(i, n) end
  return ok, why
end

--- The same of one that fits.
function Plan:let_in(i, n)
  if self.states.limited then self.kv_newcomers = self.kv_newcomers + self.outlook:lack(i) end
  self.upkeep:add(i, n)
  self:put_chunk(i, n)
  self.seqs_left, self.admitted = self.seqs_left - 1, self.admitted + 1
end

--- Those that pass a waiting request, which wants more tokens than are left, leave its memory and a table
--- row for it.
--- Running requests do not: none is evicted for one that waits unless the policy says so.
function Plan:set_aside(i, n)
  local states = self.states
  self.slots_aside = self.states:needs(i, self.requests.computed[i] + n, 0)
  self.upkeep:add(i, n)
  self.seqs_left, self.has_passed = self.seqs_left - 1, true
  if states.limited then
    self.kv_aside = states:missing_kv(i, self.requests.known[i])
    self.kv_newcomers = self.kv_newcomers + self.outlook:lack(i)
  end
end

return Plan
