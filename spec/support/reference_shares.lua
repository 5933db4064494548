-- What decodes and prompts leave one another of a step's tokens, the slow and obvious way: a part of
-- reference_engine.lua.
local limits = require "spec.support.reference_limits"

local M = {}

-- Decodes left this prompt too little: they leave it in the next step.
function M.starve(self, q)
  local by_decodes = self.c.budget - self.left - self.by_prompts
  if not self.starved and not self.starved_before and not self.is_cut and by_decodes > 0
    and limits.least(self, q) <= self.left + by_decodes then
    self.starved = q
  end
end

-- Drafts of each decode: what was proposed, cut evenly until every decode has its token and a prompt that
-- got nothing in the last step its share; then some decodes pause, others in every step.
function M.share_out(self)
  local decodes, kept = {}, 0
  for _, q in ipairs(self.running) do
    q.allowed = q.drafts
    if limits.is_decode(q) then table.insert(decodes, q) end
  end
  local starved_before = self.starved_before
  if starved_before and not starved_before.gone and not limits.is_decode(starved_before) then
    kept = math.min(limits.share(self, starved_before), self.c.budget)
  end
  local function tokens(most)
    local sum = 0
    for _, q in ipairs(decodes) do sum = sum + 1 + math.min(q.allowed, most) end
    return sum
  end
  local most = self.c.num_spec
  while most > 0 and tokens(most) > self.c.budget - kept do most = most - 1 end
  for _, q in ipairs(decodes) do q.allowed = math.min(q.allowed, most) end
  local paused = tokens(most) - (self.c.budget - kept)
  if paused <= 0 then return end
  local first = self.pause_turn % #decodes
  for at = 0, paused - 1 do decodes[(first + at) % #decodes + 1].allowed = -1 end
  self.pause_turn = (first + paused) % #decodes
end

return M
