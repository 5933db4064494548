-- Does a request hold every column of its state table that a step in flight reads or writes, or will if it is
-- built again without drafts of the step before that are rejected; and the one that its next step reads? A
-- part of verify_engine.lua.
local args = require "gdnmeta.native.args"
local requests = require "gdnmeta.engine.requests"

local RUNNING = requests.RUNNING
local floor, max = math.floor, math.max

jit.off(true, true) -- no step path

local M = {}

local function empty(e, i, column)
  local at = e.requests.table_row[i] * e.states.width + column
  for group = 0, e.states.groups - 1 do
    if e.states.tables[group][at] == 0 then
      return ("request %s has no slot of group %d in column %d"):format(args.word(e.requests.id[i]), group,
        column)
    end
  end
end

-- Of columns first .. last.
local function any_empty(e, i, first, last)
  for column = first, last do
    local problem = empty(e, i, column)
    if problem then return problem end
  end
end

-- The row of the same request in the step before, that has drafts of which some may be rejected.
local function before_of(e, step, row)
  for _, other in ipairs(e.steps) do
    for at = 0, (other.in_flight and other.number < step.number and other.num_rows or 0) - 1 do
      if other.request[at] == step.request[row] and other.epoch[at] == step.epoch[row] then
        return other, at
      end
    end
  end
end

local function row_problem(e, step, row)
  local i = step.request[row]
  local drafts, lowest = max(step.drafts[row], 0), step.column[row]
  local before, at = before_of(e, step, row)
  if before then -- what of its drafts is accepted says where this row begins, and ends
    local ends = step.seq_len[row] - before.planned[at]
    lowest = e.align and floor((ends - 1) / e.block) or 0
    local problem = any_empty(e, i, before.column[at], before.column[at] + before.planned[at])
    if problem then return problem end
  end
  return any_empty(e, i, lowest, step.column[row] + drafts)
end

-- The state that it goes on from, and the one that the last step in flight began with.
local function state_problem(e, i)
  local r = e.requests
  if r.state[i] ~= RUNNING or r.table_row[i] < 0 then return nil end
  if r.flight[i] > 0 then return r.read_before[i] >= 0 and empty(e, i, r.read_before[i]) or nil end
  return r.computed[i] > 0 and empty(e, i, r.read_column[i]) or nil
end

--- I30. Rows of requests that left, or were sent back, are read no more.
---@param e table the engine's private part
---@return string|nil message
function M.problem(e)
  for _, step in ipairs(e.steps) do
    for row = 0, (step.in_flight and step.num_rows or 0) - 1 do
      if e.requests.epoch[step.request[row]] == step.epoch[row] then
        local problem = row_problem(e, step, row)
        if problem then return ("step %d: %s"):format(step.number, problem) end
      end
    end
  end
  for _, i in pairs(e.requests.index) do
    local problem = state_problem(e, i)
    if problem then return problem end
  end
end

return M
