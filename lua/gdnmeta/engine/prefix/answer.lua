-- The state of an answer: a request holds the state at the last block that it has filled, and leaves it for
-- others at its end. No one else sees it before. Parts of the object of prefix_cache.lua.
local lib = require "gdnmeta.native"
local piece = require("gdnmeta.native.trace_cuts").piece
local must = require "gdnmeta.engine.must" "answer"

local floor = math.floor
local BELOW_ALL = -math.huge
local NEVER = 2 ^ 31 - 1 -- tokens
local NONE = require("gdnmeta.engine.requests").NONE

local PrefixCache = {}

-- Where the row has left the state at `tokens` that nothing overwrites; nil: nowhere.
local function column_of(self, i, tokens, step, row)
  local e, r = self.engine, self.engine.requests
  local ends, column = step.seq_len[row], step.column[row]
  if row < step.num_decodes then
    local shift = tokens - (ends - step.query_len[row]) - 1
    if shift < 0 then return nil end
    column = column + shift
  elseif tokens ~= ends then
    return nil
  end
  if r.sourced[i] == 1 and r.kept[i] == tokens then return e.states.spare end
  if r.flight[i] == 0 then return column end
  return e.align and column == tokens / e.block - 1 and column or nil
end

-- May the next step write the column?
local function is_written(e, tokens, column)
  if column == e.states.spare then return false end
  return not e.align or column >= tokens / e.block
end

-- Fresh slots for the column, or an empty one that the next step fills.
local function renew(self, i, column)
  local e, r = self.engine, self.engine.requests
  local at = r.table_row[i] * e.states.width + column
  if not e.align then
    must(lib.gdn_slots_take_each(e.states.pools, 1, i, e.states.cells, at))
    return
  end
  for group = 0, self.groups - 1 do e.states.tables[group][at] = 0 end
  r.slots_from[i], r.slots_to[i] = BELOW_ALL, BELOW_ALL
end

-- Takes the column's slots. The request goes on with others where its next step would write these.
local function take(self, i, tokens, column, goes_on)
  local e, r = self.engine, self.engine.requests
  local base, at = r.table_row[i] * self.groups, r.table_row[i] * e.states.width + column
  local moves = goes_on and is_written(e, tokens, column)
  local is_current = moves and column == r.read_column[i]
  if is_current and e.states.spare == NONE then return end
  if moves and not e.align and e.states:free_slots() < 1 then
    self:evict_state()
    if e.states:free_slots() < 1 then return end
  end
  local held = self.held_slots + base
  must(lib.gdn_slots_copy_each(e.states.pools, e.states.cells, at, held))
  if not moves or is_current then must(lib.gdn_slots_share_each(e.states.pools, held, nil, 0)) end
  r.answer_at[i], self.num_held = tokens, self.num_held + 1
  if is_current then
    e.states:move_on(i, column)
  elseif moves then
    renew(self, i, column)
  end
end

--- The state of request i's answer is no longer held.
function PrefixCache:drop_answer(i)
  local r = self.engine.requests
  if r.answer_at[i] == 0 then return end
  local base = r.table_row[i] * self.groups
  must(lib.gdn_slots_drop_list(self.engine.states.pools, self.held_slots + base))
  r.answer_at[i], self.num_held = 0, self.num_held - 1
end

--- One that runs drops it.
---@return boolean
function PrefixCache:drop_any_answer()
  local e = self.engine
  if self.num_held == 0 then return false end
  for at = 0, e.num_running - 1 do
    if e.requests.answer_at[e.running[at]] > 0 then
      self:drop_answer(e.running[at])
      return true
    end
  end
  return false
end

--- Is the count of states that are held so right?
---@return string|nil problem
function PrefixCache:held_problem()
  local e, n = self.engine, 0
  for at = 0, e.num_running - 1 do
    if e.requests.answer_at[e.running[at]] > 0 then n = n + 1 end
  end
  if n ~= self.num_held then return ("%d states of answers are held, want %d"):format(self.num_held, n) end
end

-- Request i holds the state at the last block before `tokens`, if it can.
local hold = piece(function(self, i, tokens, step, row, goes_on)
  local r = self.engine.requests
  local ends = floor(tokens / self.size) * self.size
  local column = column_of(self, i, ends, step, row)
  if not column then return end
  self:drop_answer(i)
  local is_speculative = step.drafts[row] >= 0
  r.answer_accepted[i] = is_speculative and ends - (step.seq_len[row] - step.query_len[row]) or 1
  take(self, i, ends, column, goes_on)
end)

-- Is there such a block, after those of its prompt?
local function may_hold(self, i, tokens)
  local r, size = self.engine.requests, self.size
  local ends = floor(tokens / size) * size
  return ends >= r.prompt[i] and ends > r.answer_at[i] and r.num_ids[i] * size >= ends
end

--- A row of request i is complete that has `tokens` computed for sure: it may have filled a block.
function PrefixCache:hold_answer(i, tokens, step, row)
  local r, size = self.engine.requests, self.size
  local ends = floor(tokens / size) * size
  r.cross_at[i] = r.num_ids[i] * size > ends and ends + size or NEVER -- until the next id is known
  if may_hold(self, i, tokens) then hold(self, i, tokens, step, row, true) end
end

--- Request i has said all: text whose ids nobody told is counted.
---@return boolean has its answer a state that may join the cache?
function PrefixCache:has_said_all(i)
  local r = self.engine.requests
  if not r.ids[i] then return false end
  local last = r.known[i] - 1 -- tokens that a state of its can have
  if floor(last / self.size) > r.num_ids[i] then self.untold_text = self.untold_text + 1 end
  return r.answer_at[i] > 0 or may_hold(self, i, last)
end

--- The last state of request i's answer joins the cache, where that wants it.
function PrefixCache:join_answer(i, step, row)
  local r = self.engine.requests
  local last = r.known[i] - 1
  if may_hold(self, i, last) then hold(self, i, last, step, row, false) end
  local tokens = r.answer_at[i]
  if tokens == 0 then return end
  local is_answer = tokens > r.prompt[i] or not self:leaves_state(i, tokens) -- else the prompt is to leave it
  local priority = not self.hooks or self.hooks:keeps(i, tokens, is_answer)
  if priority then
    if self:join(i, tokens / self.size, r.answer_accepted[i]) and self.hooks then
      self.hooks:kept(r.node[i], priority)
    end
  end
  self:drop_answer(i)
end

--- Two steps in flight, mode none: the next decode of request i would overwrite the state that it is to hold.
function PrefixCache:spare_answer(i)
  local r = self.engine.requests
  local computed = r.computed[i]
  if r.flight[i] == 0 or r.sourced[i] == 1 or r.placeholders[i] ~= r.pending[i] then return end
  if computed ~= r.cross_at[i] or computed < r.prompt[i] then return end
  if r.num_ids[i] * self.size < computed then return end
  self:drop_answer(i)
  self:move_aside(i)
end

return PrefixCache
