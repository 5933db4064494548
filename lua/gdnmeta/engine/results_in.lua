-- What a host says about a step that has run, and whether it can have happened.
local args = require "gdnmeta.native.args"
local options_of = require "gdnmeta.native.options"
local old_names = require "gdnmeta.native.old_names"

local MIN, MAX = args.INT32_MIN, args.INT32_MAX - 1

local M = {}

-- Everywhere else `accepted` alone counts tokens: the drafts that the model agreed with, and one.
local RESULT = { accepted_drafts = true, stop = true, next_drafts = true, accepted = true, drafts = true,
                 tokens = true, blocks = true }
local NUMBERS = { "accepted_drafts", "stop", "next_drafts", "accepted", "drafts" }
local OLD = { accepted = "accepted_drafts", drafts = "next_drafts" }

--- One of the engine's step objects, whenever its step was made?
---@param e table the engine
---@param step any
---@return boolean
function M.is_step_of(e, step)
  if type(step) ~= "table" then return false end
  return rawequal(step, e.steps[1]) or rawequal(step, e.steps[2]) or rawequal(step, e.rowless)
end

-- I25, for one row.
local function row_problem(step, row, accepted, stop, drafts, num_spec)
  local most = math.max(step.drafts[row], 0)
  local tokens = step.samples[row] * (accepted + 1)
  local id = step.ids[row + 1]
  if accepted < 0 or accepted > most then
    return ("request %s: accepted_drafts = %d, want 0 .. %d"):format(args.word(id), accepted, most)
  elseif stop < 0 or stop > tokens then
    return ("request %s: stop = %d, want 0 .. %d, its tokens of this step"):format(args.word(id), stop,
                                                                                   tokens)
  end
  if drafts < 0 or drafts > num_spec then
    return ("request %s: next_drafts = %d, want 0 .. %d"):format(args.word(id), drafts, num_spec)
  end
end

-- Values under names of the release before, as those of today.
local function take_old(id, result)
  for old, new in pairs(OLD) do
    if type(result[old]) ~= "nil" then
      if type(result[new]) ~= "nil" then
        return ("results[%s] has %s and %s, want %s alone"):format(args.word(id), old, new, new)
      end
      old_names.once("results[id]." .. old, "results[id]." .. new)
      result[new] = result[old]
    end
  end
end

-- Tokens say how many drafts were accepted, or agree with what does.
local function take_text(text, step, row, name, result)
  if type(result.blocks) ~= "nil" then
    local n, problem = text:read_blocks(name .. ".blocks", row, result.blocks)
    if not n then return problem end
  end
  if type(result.tokens) == "nil" then return nil end
  local most = step.samples[row] * (1 + math.max(step.drafts[row], 0))
  local n, problem = text:read_tokens(name .. ".tokens", row, result.tokens, most)
  if not n then return problem end
  local accepted = result.accepted_drafts
  if not accepted then
    result.accepted_drafts = math.max(n - 1, 0)
  elseif n ~= step.samples[row] * (accepted + 1) and n ~= result.stop then
    return ("%s.tokens has %d elements, want %d: accepted_drafts = %d"):format(name, n,
      step.samples[row] * (accepted + 1), accepted)
  end
end

-- One request's result as three numbers; or nil, message.
local function read_one(id, given, default_drafts, text, step, row)
  if type(given) ~= "table" then
    return nil, ("results[%s] is a %s, want a table"):format(args.word(id), type(given))
  end
  local result, unknown = args.take(given, RESULT)
  if not result then
    return nil, ("results[%s]: %s"):format(args.word(id), options_of.unknown("field", unknown, RESULT))
  end
  for _, name in ipairs(NUMBERS) do
    local value = result[name]
    if type(value) ~= "nil" and not args.integer(value, MIN, MAX)
      and not (name == "stop" and value == true) then
      return nil, args.wrong(("results[%s].%s"):format(args.word(id), name), value, "an integer")
    end
  end
  local problem = take_old(id, result)
    or take_text(text, step, row, ("results[%s]"):format(args.word(id)), result)
  if problem then return nil, problem end
  local accepted, stop = result.accepted_drafts or 0, result.stop or 0
  if stop == true then stop = accepted + 1 end
  return accepted, stop, result.next_drafts or default_drafts
end

--- Read a host's table of results, each value once.
---@param text table of text_in.lua, which gets what they say of the text
---@return table|nil numbers of every row, three each
---@return string? problem
function M.read(step, results, default_drafts, text)
  local numbers, known, number = {}, {}, step.number
  text:begin()
  for row = 0, step.num_rows - 1 do
    if step.number ~= number then break end -- a metamethod made another step of it, and the caller refuses
    local id = step.ids[row + 1]
    local given = results[id]
    local accepted, stop, drafts = 0, 0, default_drafts
    known[id] = true
    if type(given) ~= "nil" then
      accepted, stop, drafts = read_one(id, given, default_drafts, text, step, row)
      if not accepted then return nil, stop end
    end
    numbers[3 * row], numbers[3 * row + 1], numbers[3 * row + 2] = accepted, stop, drafts
  end
  for id in next, results do
    if not known[id] then return nil, ("results[%s]: the step has no such request"):format(args.word(id)) end
  end
  return numbers
end

--- What was read, into the step's arrays.
function M.write(step, numbers)
  for row = 0, step.num_rows - 1 do
    local at = 3 * row
    step.accepted_drafts[row], step.stop[row] = numbers[at], numbers[at + 1]
    step.next_drafts[row] = numbers[at + 2]
  end
end

--- Can it have happened?
---@param numbers table|nil what was read; nil: what stands in the step's arrays
---@return string|nil problem
function M.problem(step, numbers, num_spec)
  for row = 0, step.num_rows - 1 do
    local accepted, stop, drafts
    if numbers then
      local at = 3 * row
      accepted, stop, drafts = numbers[at], numbers[at + 1], numbers[at + 2]
    else
      accepted, stop, drafts = step.accepted_drafts[row], step.stop[row], step.next_drafts[row]
    end
    local problem = row_problem(step, row, accepted, stop, drafts, num_spec)
    if problem then return problem end
  end
end

return M
