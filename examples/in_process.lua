-- A model in Lua in the place of a process that runs one: steps run where they are handed in.
local sampling = require "examples.sampling"

local InProcess = {}
InProcess.__index = InProcess

-- What comes after the last known token is at `at`, what comes after n drafts at `at + n`: a row goes on as
-- long as its drafts match.
local function verify(model, said, tokens, at, drafts, record)
  local chosen, place = {}, #record.tokens - record.prompt
  for n = 0, drafts do
    local token = record.sampler and model:sample(at + n, record.sampler, place + n + 1) or said[at + n]
    chosen[n + 1] = token
    if n < drafts and tokens[at + n + 1] ~= token then break end
  end
  return chosen
end

---@param step table gdnmeta.Step
---@param tokens ffi.cdata* int32_t[num_actual_tokens], in the order of the batch
---@param records table by row: { tokens, prompt, sampling }
function InProcess:submit(step, tokens, records)
  local model, first, chosen = self.host.model, 0, {}
  local said = model:forward(step.metadata, tokens)
  for row = 0, step.num_rows - 1 do
    if step.samples[row] == 1 then
      local record, drafts = records[row], math.max(step.drafts[row], 0)
      local s = record.sampling
      record.sampler = record.sampler or sampling.new(s.temperature, s.top_p, s.seed)
      local at = first + step.query_len[row] - 1 - drafts
      chosen[row] = verify(model, said, tokens, at, drafts, record)
    end
    first = first + step.query_len[row]
  end
  self.results = { tokens = chosen }
end

function InProcess:poll()
  local results = self.results
  self.results = nil
  return results
end

local M = {}

---@param host table of examples/serving.lua, whose model has forward(metadata, tokens), and perhaps sample
function M.new(host)
  return setmetatable({ host = host, samples = host.model.sample ~= nil }, InProcess)
end

return M
