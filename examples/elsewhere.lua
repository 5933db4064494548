-- A worker of gdn.worker in the place of a model in this process, for examples/serving.lua.
local ffi = require "ffi"

local LEAST = 1e-30 -- top_p: the likeliest token alone. A 0, or what a float rounds to it, is refused

local signed = ffi.typeof "int64_t"

local Elsewhere = {}
Elsewhere.__index = Elsewhere

--- Hand a step in. What goes wrong is told by poll().
---@param step table gdnmeta.Step
---@param tokens ffi.cdata* int32_t[num_tokens], in the order of the batch
---@param records table by row: { sampling = { temperature, top_p, seed } }
function Elsewhere:submit(step, tokens, records)
  local worker = self.worker
  local into, temperature, top_p, seed = worker.tokens, worker.temperature, worker.top_p, worker.seed
  for t = 0, step.num_tokens - 1 do into[t] = tokens[t] end
  for row = 0, step.num_rows - 1 do
    local s = records[row].sampling
    temperature[row], top_p[row] = s.temperature, math.max(s.top_p, LEAST)
    seed[row] = s.seed < 0 and signed(s.seed) or s.seed -- as uint64 all negative numbers would be one seed
  end
  local ok, message, code = worker:submit(step)
  self.message, self.code = not ok and message or nil, code
end

-- The lists of a flat array, by row.
local function lists(step, flat, counts)
  local by_row, at = {}, 0
  for row = 0, step.num_rows - 1 do
    local list = {}
    for k = 1, counts[row] do list[k] = flat[at + k - 1] end
    by_row[row], at = list, at + counts[row]
  end
  return by_row
end

--- What the step emitted, once it has run.
---@return table|nil said { tokens, drafts or nil }, lists by row
---@return string? message
---@return string? code
function Elsewhere:poll()
  if self.message then return nil, self.message, self.code end
  local result, message, code = self.worker:poll()
  if not result then return nil, message, code end
  return { tokens = lists(result.step, result.tokens, result.emitted),
           drafts = result.next_drafts and lists(result.step, result.drafts, result.next_drafts) }
end

local M = {}

---@param worker table gdnmeta.Worker
function M.new(worker) return setmetatable({ worker = worker, samples = true }, Elsewhere) end

return M
