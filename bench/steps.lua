-- An engine of its own for scenarios that count steps: each takes a second, and no stop comes.
local gdn = require "gdnmeta"

local M = {}

local Server = {}
Server.__index = Server

--- A request that arrives now.
---@param id string
---@param prompt integer
---@param output integer
---@param fields table|nil further fields
function Server:submit(id, prompt, output, fields)
  local request = { id = id, prompt_tokens = prompt, max_tokens = output, arrival = self.now }
  for name, value in pairs(fields or {}) do request[name] = value end
  assert(self.engine:submit(request))
  self.born[id] = self.steps
end

--- One step. first[id]: steps from its submission to its first token.
---@return table step
function Server:step()
  local step = assert(self.engine:step(self.now))
  self.now, self.steps = self.now + 1, self.steps + 1
  assert(self.engine:complete(step, self.now))
  for row = 0, step.num_rows - 1 do
    local id = step:id(row)
    if step.emitted[row] > 0 then self.first[id] = self.first[id] or self.steps - self.born[id] end
  end
  return step
end

--- Step until a request has its first token, at most `most` times. The steps since it was submitted.
---@param id string
---@param most integer
---@return integer steps
function Server:wait_for(id, most)
  for _ = 1, most do
    self:step()
    if self.first[id] then return self.first[id] end
  end
  return self.steps - self.born[id]
end

function Server:close()
  self.engine:close()
  self.builder:close()
end

--- options: of the engine; of_builder: of its builder.
---@return table server
function M.new(options, of_builder)
  local b = { device = "cpu", max_num_seqs = 16, max_num_batched_tokens = 8192 }
  for name, value in pairs(of_builder or {}) do b[name] = value end
  local e = { builder = assert(gdn.builder(b)), max_model_len = 650000, on_policy_error = "raise" }
  for name, value in pairs(options) do e[name] = value end
  return setmetatable({ engine = assert(gdn.engine(e)), builder = e.builder, now = 0, steps = 0, born = {},
                        first = {} }, Server)
end

return M
