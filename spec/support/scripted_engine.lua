-- A scripted run of an engine beside the kernel of the specs: what each request stands at is counted here,
-- from the results alone, and every row must start from the state of exactly those tokens.
local kernels = require "spec.support.state_kernel"

local M = {}

local Script = {}
Script.__index = Script

-- A request is known to stand at `computed` tokens, with `accepted` emitted by its last step.
local function rows_of(self, step, results)
  local rows = {}
  for row = 0, step.num_rows - 1 do
    local id = step:id(row)
    local stands = self.stands[id] or { computed = self.cached[id] or 0, accepted = 1 }
    local drafts, answer = math.max(step.drafts[row], 0), results[id] or {}
    assert(step.seq_len[row] == stands.computed + step.query_len[row], id)
    local accepted = math.min(answer.accepted or 0, drafts)
    rows[row + 1] = { id = id, family = self.families[id] or 1, n = step.query_len[row],
                      drafts = step.drafts[row], accepted = accepted, computed = stands.computed,
                      last_accepted = stands.accepted }
    self.stands[id] = { computed = step.seq_len[row] - drafts + accepted, accepted = 1 + accepted }
    step.accepted_drafts[row], step.next_drafts[row] = accepted, answer.drafts or self.num_spec
  end
  return rows
end

--- One step from begin to end.
---@param results table|nil by id: accepted drafts (default 0), drafts for the next step (default all)
---@param look function|nil called with the step while its metadata stands
---@return table step, completed
function Script:step(results, look)
  self.now = self.now + 1
  local step = assert(self.engine:step(self.now))
  if step.num_rows > 0 then
    local rows = rows_of(self, step, results or {})
    self.kernel:run(step, rows, "step " .. step.number)
    if look then look(step) end
  end
  assert(self.engine:complete(step, self.now))
  return step
end

--- Requests of one family have one text; cached: tokens of the checkpoint that a request starts from.
---@param options table groups, num_spec
function M.new(engine, options)
  return setmetatable({ engine = engine, kernel = kernels.new(options.groups or 1, options.num_spec or 0),
                        num_spec = options.num_spec or 0, stands = {}, families = {}, cached = {}, now = 0 },
                      Script)
end

return M
