-- Answers in the state cache: the next turn of a session tells which blocks an answer fills, where its prompt
-- goes on from the whole prompt before.
local floor, min = math.floor, math.min

local M = {}

local function begins_with(list, first)
  for k, id in ipairs(first) do
    if list[k] ~= id then return false end
  end
  return true
end

--- Ids of the blocks that answers fill, after those of their prompts.
---@param requests table
---@param ids table of prompts by request, false: none
---@param size integer tokens of a block
---@return table replies by request, or false; integer n how many are known
function M.of(requests, ids, size)
  local replies, following, n = {}, {}, 0
  for i = #requests, 1, -1 do
    local r, own = requests[i], ids[i]
    local turn = r.session ~= nil and following[r.session]
    replies[i] = false
    if own and turn and begins_with(ids[turn], own) then
      local list, full = {}, min(#ids[turn], floor((r.prompt + r.output) / size))
      for k = #own + 1, full do list[#list + 1] = ids[turn][k] end
      if #list > 0 then replies[i], n = list, n + 1 end
    end
    if own and r.session ~= nil then following[r.session] = i end
  end
  return replies, n
end

-- Ids of the blocks that request i has filled with this row.
local function filled(self, step, row, i)
  local list = self.replies[i]
  if not list or step.samples[row] ~= 1 then return nil end
  local emitted = min(step.accepted_drafts[row] + 1, self.left[i])
  local text = self.prompt[i] + self.requests[i].output - self.left[i] + emitted
  local full = min(floor(text / self.block_size) - #self.ids[i], #list)
  local said = self.said[i] or 0
  if full <= said then return nil end
  local blocks = {}
  for k = said + 1, full do blocks[#blocks + 1] = list[k] end
  self.said[i] = full
  return blocks
end

--- Results of a step that says them; nil: it fills no block, and its arrays are its results.
---@param self table the run
---@param step gdnmeta.Step
---@return table|nil results
function M.results(self, step)
  local blocks_of, any = {}, false
  for row = 0, step.num_rows - 1 do
    blocks_of[row] = filled(self, step, row, self.ordinal[step.request[row]]) or nil
    any = any or blocks_of[row] ~= nil
  end
  if not any then return nil end
  local results = {}
  for row = 0, step.num_rows - 1 do
    if step.samples[row] == 1 then
      results[step:id(row)] = { accepted_drafts = step.accepted_drafts[row], stop = step.stop[row],
                                next_drafts = step.next_drafts[row], blocks = blocks_of[row] }
    end
  end
  return results
end

return M
