-- What a worker says a step emitted, and whether it can have.
local lib = require "gdnmeta.worker.native"
local array_of = require "gdnmeta.array_of"
local printed = require "gdnmeta.native.printed"

local max = math.max
local int32s = array_of "int32_t"

local FIELDS = { "number", "num_rows", "num_tokens", "num_drafts" }

-- A result as the host sees it, in arrays that stay where they are.
local Result = {}
Result.__index = Result

--- The next one.
---@param step gdnmeta.Step whose it is to be
---@param raw ffi.cdata* gdn_result_record
---@return string|nil problem it does not fit the step's rows; nothing is changed
function Result:take(step, raw)
  local rows, spec = step.num_rows, self.spec
  if raw.num_rows ~= rows then
    return ("the result of step %d has %d rows, want %d"):format(step.number, raw.num_rows, rows)
  elseif raw.num_tokens > rows * (spec + 1) or raw.num_drafts > rows * spec then
    return ("the result of step %d has %d tokens and %d drafts, want at most %d and %d"):format(
      step.number, raw.num_tokens, raw.num_drafts, rows * (spec + 1), rows * spec)
  end
  lib.gdn_result_copy(raw, self.emitted, self.tokens, self.own_drafts, self.drafts)
  self.num_rows, self.num_tokens, self.num_drafts = raw.num_rows, raw.num_tokens, raw.num_drafts
  self.next_drafts = raw.has_drafts ~= 0 and self.own_drafts or nil
end

function Result:__tostring() return printed.text("gdnmeta.Result", self, FIELDS) end

local M = {}

---@param config ffi.cdata* gdn_config
---@return table result
function M.new(config)
  local rows, spec = config.max_rows, config.num_speculative_tokens
  return setmetatable({ emitted = int32s(rows), tokens = int32s(rows * (spec + 1)), own_drafts = int32s(rows),
                        drafts = int32s(max(rows * spec, 1)), num_rows = 0, num_tokens = 0, num_drafts = 0,
                        spec = spec }, Result)
end

local function row_problem(step, row, emitted, most)
  local low = step.samples[row]
  if emitted < low or emitted > most then
    return ("the result of step %d: emitted[%d] = %d, want %d .. %d"):format(step.number, row, emitted, low,
                                                                         most)
  end
end

local function words_problem(step, name, tokens, n, vocab_size)
  for k = 0, n - 1 do
    if tokens[k] >= vocab_size then
      return ("the result of step %d: %s[%d] = %d, want 0 .. %d"):format(step.number, name, k, tokens[k],
                                                                     vocab_size - 1)
    end
  end
end

--- Does the result fit its step?
---@param step gdnmeta.Step
---@param result table
---@param num_spec integer
---@param vocab_size integer 0: not known
---@return string|nil problem
function M.problem(step, result, num_spec, vocab_size)
  local next_drafts = result.next_drafts
  for row = 0, step.num_rows - 1 do
    local samples = step.samples[row]
    local problem = row_problem(step, row, result.emitted[row], samples * (max(step.drafts[row], 0) + 1))
    if problem then return problem end
    local drafts = next_drafts and next_drafts[row] or 0
    if drafts > num_spec * samples then
      return ("the result of step %d: next_drafts[%d] = %d, want 0 .. %d"):format(step.number, row, drafts,
                                                                             num_spec * samples)
    end
  end
  if vocab_size == 0 then return nil end
  return words_problem(step, "tokens", result.tokens, result.num_tokens, vocab_size)
    or words_problem(step, "drafts", result.drafts, result.num_drafts, vocab_size)
end

--- Into the step's arrays: how many drafts the model accepted, and how many come next where it says so.
function M.write(step, result)
  local next_drafts = result.next_drafts
  for row = 0, step.num_rows - 1 do
    step.accepted_drafts[row] = max(result.emitted[row] - 1, 0)
    if next_drafts then step.next_drafts[row] = next_drafts[row] end
  end
end

return M
