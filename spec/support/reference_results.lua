-- What the results of a step change, the slow and obvious way: a part of reference_engine.lua.
local limits = require "spec.support.reference_limits"

local M = {}

--- Results by id: { accepted, stop, drafts }; returns tokens emitted by id, and who is finished.
function M.complete(self, results)
  local emitted, finished = {}, {}
  for _, entry in ipairs(self.plan) do
    local q, result = entry.q, results[entry.q.id]
    if not q.gone then
      local start = self.c.align and math.floor((q.computed + entry.n - 1) / self.c.block) or 0
      q.computed = q.computed + entry.n
      q.read = start
      if q.computed >= q.known then
        q.computed = q.computed - (entry.drafts - result.accepted)
        q.read = start + result.accepted
        local n = result.stop > 0 and result.stop or result.accepted + 1
        n = math.min(n, q.max - (q.known - q.prompt), self.c.max_model_len - q.known)
        q.known, q.drafts, emitted[q.id] = q.known + n, result.drafts, n
        if result.stop > 0 and n == result.stop or q.known - q.prompt == q.max
          or q.known == self.c.max_model_len then
          q.gone, finished[q.id] = true, true
          limits.remove(self.running, q)
        end
      end
      if self.c.align then
        for column in pairs(q.columns) do
          if column < math.floor(q.computed / self.c.block) and column ~= q.read then
            q.columns[column] = nil
          end
        end
      end
    end
  end
  if next(emitted) then self.is_tight = false end
  return emitted, finished
end

return M
