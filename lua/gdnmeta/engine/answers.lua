-- What a host says about a step that has run, and whether it can have happened.
local check = require "gdnmeta.check"

local MIN, MAX = check.INT32_MIN, check.INT32_MAX - 1

local M = {}

local RESULT = { accepted = true, stop = true, drafts = true }

--- Copy a host's table of results into the step's arrays.
---@return string|nil problem
function M.read(step, results, default_drafts)
  local row_of = {}
  for row = 0, step.num_rows - 1 do
    row_of[step.ids[row + 1]] = row
    step.accepted[row], step.stop[row], step.next_drafts[row] = 0, 0, default_drafts
  end
  for id, result in pairs(results) do
    local row = row_of[id]
    if not row then return ("results[%s]: the step has no such request"):format(tostring(id)) end
    if type(result) ~= "table" then
      return ("results[%s] is a %s, want a table"):format(tostring(id), type(result))
    end
    for name in pairs(result) do
      if not RESULT[name] then
        return ("results[%s]: unknown field %s"):format(tostring(id), tostring(name))
      end
    end
    for name in pairs(RESULT) do
      local value = result[name]
      if value ~= nil and not check.integer(value, MIN, MAX) and not (name == "stop" and value == true) then
        return check.wrong(("results[%s].%s"):format(tostring(id), name), value, "an integer")
      end
    end
    local accepted, stop = result.accepted or 0, result.stop or 0
    if stop == true then stop = accepted + 1 end
    step.accepted[row], step.stop[row] = accepted, stop
    step.next_drafts[row] = result.drafts or default_drafts
  end
end

--- I25. Nothing has changed yet when this refuses.
---@return string|nil problem
function M.problem(step, num_spec)
  for row = 0, step.num_rows - 1 do
    local accepted, stop, drafts = step.accepted[row], step.stop[row], step.next_drafts[row]
    local most = step.drafts[row] > 0 and step.drafts[row] or 0
    local tokens = step.samples[row] * (accepted + 1)
    if accepted < 0 or accepted > most or stop < 0 or stop > tokens or drafts < 0 or drafts > num_spec then
      local id = tostring(step.ids[row + 1])
      if accepted < 0 or accepted > most then
        return ("request %s: accepted = %d, want 0 .. %d"):format(id, accepted, most)
      elseif stop < 0 or stop > tokens then
        return ("request %s: stop = %d, want 0 .. %d, its tokens of this step"):format(id, stop, tokens)
      end
      return ("request %s: drafts = %d, want 0 .. %d"):format(id, drafts, num_spec)
    end
  end
end

return M
