-- What a model in Lua says to a step: it goes on as long as the drafts are what it would have said.
local ffi = require "ffi"
local array_of = require "gdnmeta.array_of"

local int32s, signed = array_of "int32_t", ffi.typeof "int64_t"
local max = math.max
local PENDING = -1 -- GDN_TOKEN_PENDING

local M = {}

-- The token after position `at` of the batch.
local function choose(model, step, row, next, at, position)
  if step.temperature[row] > 0 and model.choose then
    local seed = tonumber(signed(step.seed[row])) -- as doubles, numbers just below 2^64 are one
    return model:choose(at, step.temperature[row], step.top_p[row], seed, position)
  end
  return next[at]
end

local function run_row(self, model, step, row, first, next)
  local tokens, drafts = self.tokens, max(step.drafts[row], 0)
  local at, n = first + step.query_len[row] - 1 - drafts, 0
  repeat
    local token = choose(model, step, row, next, at + n, step.seq_len[row] - drafts + n)
    self.said[self.num_said], self.num_said, n = token, self.num_said + 1, n + 1
    self.last[step.table_row[row]] = token
  until n > drafts or tokens[at + n] ~= token
  return n
end

-- The step's input: its tokens, those that the step before has said, zeros on padding.
local function gather(self, step, size)
  local tokens, t = self.tokens, 0
  for row = 0, step.num_rows - 1 do
    local last = self.last[step.table_row[row]]
    for _ = 1, step.query_len[row] do
      local token = step.tokens[t]
      tokens[t], t = token == PENDING and last or token, t + 1
    end
  end
  for padding = t, size - 1 do tokens[padding] = 0 end
end

--- Run a model over a step. self.emitted [rows] and self.said [self.num_said] then have the result.
---@param model table forward(metadata, tokens) gives the likeliest next token after each; if it has
--- choose(at, temperature, top_p, seed, position), rows with a temperature take what that gives: position is
--- the token's place in its sequence
---@param step ffi.cdata*|table the arrays of a gdn_step_record
---@param metadata gdnmeta.Metadata
function M:run(model, step, metadata)
  local size = metadata.num_actual_tokens
  gather(self, step, size)
  local next, first = model:forward(metadata, self.tokens), 0
  self.num_said = 0
  for row = 0, step.num_rows - 1 do
    self.emitted[row] = step.samples[row] == 1 and run_row(self, model, step, row, first, next) or 0
    first = first + step.query_len[row]
  end
end

M.__index = M

---@param config ffi.cdata* gdn_config
---@return table answer
function M.new(config)
  return setmetatable({ tokens = int32s(config.max_num_batched_tokens), emitted = int32s(config.max_rows),
                        said = int32s(config.max_rows * (config.num_speculative_tokens + 1)), num_said = 0,
                        last = int32s(config.max_requests) }, M)
end

return M
