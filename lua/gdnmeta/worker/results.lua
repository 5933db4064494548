-- What a worker says a step emitted, and whether it can have.
local max = math.max

local M = {}

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
---@param result ffi.cdata* gdn_result_record
---@param num_spec integer
---@param vocab_size integer 0: not known
---@return string|nil problem
function M.problem(step, result, num_spec, vocab_size)
  if result.num_rows ~= step.num_rows then
    return ("the result of step %d has %d rows, want %d"):format(step.number, result.num_rows, step.num_rows)
  end
  local has_drafts = result.next_drafts ~= nil
  for row = 0, step.num_rows - 1 do
    local samples = step.samples[row]
    local problem = row_problem(step, row, result.emitted[row], samples * (max(step.drafts[row], 0) + 1))
    if problem then return problem end
    local drafts = has_drafts and result.next_drafts[row] or 0
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
  for row = 0, step.num_rows - 1 do
    step.accepted_drafts[row] = max(result.emitted[row] - 1, 0)
    if result.next_drafts ~= nil then step.next_drafts[row] = result.next_drafts[row] end
  end
end

return M
