-- What one step is to do: decodes (request, drafts), chunks of text (request, tokens), preemptions and
-- rejections. A proposal only: nothing outside the plan changes until it is proven and committed,
-- except the requests' `mark`, which says what the plan holds of them. Decodes have a list of their own,
-- so that loops over them are one straight trace. A policy's budget may end anywhere in here: an entry is
-- written before it is counted, and counted before it is marked, so that begin() finds every mark.
-- is_short: a running request waits for memory that is about to be freed, or that newcomers took;
-- frees_memory: a request was evicted for memory, gives_way: for one that waits; is_cut: a chunk took all
-- that was left; starved: a prompt that decodes left too little for, or NONE; num_held: waiting requests that
-- the policy held;
-- is_tried: the policy was called for a prompt's chunk in an empty step.
local array_of = require "gdnmeta.array_of"
local newcomers = require "gdnmeta.engine.newcomers"

local NONE = require("gdnmeta.engine.requests").NONE
local int32s = array_of "int32_t"
local are_unmarked = require("gdnmeta.native.trace_cuts").joint()

-- mark: 0 nothing, DECODE or CHUNK, or one of the negative ones.
local M = { DECODE = 1, CHUNK = 2, SKIPPED = -1, PREEMPTED = -2, REJECTED = -3 }
local DECODE, CHUNK = M.DECODE, M.CHUNK

local Plan = {}
Plan.__index = Plan
for name, method in pairs(newcomers) do Plan[name] = method end

local function unmark(mark, list, n)
  for p = 0, n - 1 do mark[list[p]] = 0 end
end

local function clear(self)
  self.num_decodes, self.num_chunks, self.num_victims, self.num_skipped, self.num_rejects = 0, 0, 0, 0, 0
end

--- Empty the plan for a step that may use `tokens`, admit `seqs`, take `slots` a group and `kv` blocks.
--- `slots_coming` and `kv_coming` are held by requests that left while a step names them.
function Plan:begin(tokens, seqs, slots, kv, slots_coming, kv_coming)
  local mark = self.requests.mark
  unmark(mark, self.decodes, self.num_decodes)
  unmark(mark, self.chunks, self.num_chunks)
  unmark(mark, self.victims, self.num_victims)
  for n = 1, self.num_skipped do mark[self.skipped[n]] = 0 end
  for n = 1, self.num_rejects do mark[self.rejects[n]] = 0 end
  are_unmarked()
  clear(self)
  self.tokens_left, self.seqs_left, self.prefill_taken, self.admitted = tokens, seqs, 0, 0
  self.slots_left, self.kv_left, self.slots_coming, self.kv_coming = slots, kv, slots_coming, kv_coming
  self.has_gaps, self.is_short, self.frees_memory, self.gives_way = false, false, false, false
  self.budget, self.starved, self.is_cut, self.has_passed, self.is_hungry = tokens, NONE, false, false, false
  self.num_held, self.kv_free, self.kv_promised, self.kv_newcomers = 0, kv, -1, 0
  self.is_tried, self.slots_aside, self.kv_aside = false, 0, 0
  self.slots_free, self.slots_behind, self.behind_of, self.way_made_for = slots, 0, 0, NONE
  self.upkeep:begin()
end

-- Drafts that reach into the next block before their request does hold a slot beyond its share for some
-- steps. Only where one is left for each running request that the plan has not come to: those may need it.
local function is_greedy(self, i, slots)
  return self.states:held_slots(i) + slots > self.states.per_request
    and slots > self.slots_left - self.upkeep:unplanned(i)
end

-- Take from the pools, or say which has too little left.
local function take(self, i, tokens, drafts, is_modest)
  local slots, kv = self.states:needs(i, tokens, drafts)
  if slots > self.slots_left or slots > 0 and is_modest and is_greedy(self, i, slots) then
    return nil, "slots"
  end
  if kv > self.kv_left then return nil, "kv" end
  self.slots_left, self.kv_left = self.slots_left - slots, self.kv_left - kv
  return true
end

--- One token and `drafts` drafts of a request. is_modest: drafts take no slot that others may need.
---@return boolean|nil ok, string? why "slots" or "kv": the pool that has too little left
function Plan:put_decode(i, drafts, is_modest)
  local r = self.requests
  local ok, why = take(self, i, r.computed[i] + 1 + drafts, drafts, is_modest)
  if not ok then return nil, why end
  local p = self.num_decodes
  self.decodes[p], self.drafts[p] = i, drafts
  self.num_decodes, self.tokens_left = p + 1, self.tokens_left - 1 - drafts
  r.mark[i] = DECODE
  return true
end

--- n tokens of a request's known text.
---@return boolean|nil ok, string? why
function Plan:put_chunk(i, n)
  local r = self.requests
  local ok, why = take(self, i, r.computed[i] + n, 0)
  if not ok then return nil, why end
  local p = self.num_chunks
  self.chunks[p], self.tokens[p] = i, n
  self.num_chunks, self.tokens_left = p + 1, self.tokens_left - n
  self.prefill_taken = self.prefill_taken + n
  r.mark[i] = CHUNK
  return true
end

-- Slots freed by requests that the plan, or a step in flight, moves into another block.
local function behind(self)
  local entries = self.num_decodes + self.num_chunks + self.num_victims
  if entries == self.behind_of then return self.slots_behind end
  local r, states, sum = self.requests, self.states, 0
  for p = 0, self.num_decodes - 1 do
    local i, drafts = self.decodes[p], self.drafts[p]
    if drafts >= 0 then sum = sum + states:behind(i, states:window(r.computed[i] + 1 + drafts, drafts)) end
  end
  for p = 0, self.num_chunks - 1 do
    local i, n = self.chunks[p], self.tokens[p]
    if n > 0 then sum = sum + states:behind(i, states:window(r.computed[i] + n, 0)) end
  end
  self.slots_behind, self.behind_of = sum, entries
  return sum
end

--- Would the pools suffice for a step that ends at `tokens`, once all that is on its way back is back?
function Plan:is_coming(i, tokens, drafts)
  local slots, kv = self.states:needs(i, tokens, drafts)
  if kv > self.kv_left + self.kv_coming then return false end
  local coming = self.slots_left + self.slots_coming
  return slots <= coming or self.states.align and slots <= coming + behind(self)
end

local function find(list, n, i)
  for p = 0, n - 1 do
    if list[p] == i then return p end
  end
end

-- Where the plan holds a request, and what the step does for it.
local function entry_of(self, i)
  if self.requests.mark[i] == DECODE then
    local p = find(self.decodes, self.num_decodes, i)
    return p, 1 + self.drafts[p], self.drafts[p]
  end
  local p = find(self.chunks, self.num_chunks, i)
  return p, self.tokens[p], 0
end

--- What the plan has taken of the pools for a request.
---@return integer slots, integer kv
function Plan:taken(i)
  local r = self.requests
  if r.mark[i] <= 0 then return 0, 0 end
  local _, n, drafts = entry_of(self, i)
  return self.states:needs(i, r.computed[i] + n, drafts)
end

-- Entries that are taken back leave a gap, which close() removes.
local function take_back(self, i)
  local slots, kv = self:taken(i)
  local p, n = entry_of(self, i)
  if self.requests.mark[i] == DECODE then
    self.drafts[p] = -1
  else
    self.tokens[p], self.prefill_taken = 0, self.prefill_taken - n
  end
  self.slots_left, self.kv_left = self.slots_left + slots, self.kv_left + kv
  self.tokens_left, self.has_gaps = self.tokens_left + n, true
end

--- Evict a running request. What a step in flight still names comes back when that step completes.
function Plan:preempt(i)
  local r = self.requests
  if r.mark[i] > 0 then take_back(self, i) end
  self.victims[self.num_victims] = i
  self.num_victims = self.num_victims + 1
  r.mark[i] = M.PREEMPTED
  self.kv_promised = -1
  self.upkeep:forget()
  local slots, kv = self.states:held_slots(i), self.states:held_kv(i)
  if r.flight[i] > 0 then
    self.slots_coming, self.kv_coming = self.slots_coming + slots, self.kv_coming + kv
  else
    self.slots_left, self.kv_left = self.slots_left + slots, self.kv_left + kv
    self.kv_free, self.seqs_left = self.kv_free + kv, self.seqs_left + 1
    self.slots_free = self.slots_free + slots
  end
end

function Plan:skip(i)
  local n = self.num_skipped + 1
  self.skipped[n] = i
  self.num_skipped = n
  self.requests.mark[i] = M.SKIPPED
end

function Plan:reject(i, reason)
  local n = self.num_rejects + 1
  self.rejects[n], self.reasons[n] = i, reason
  self.num_rejects = n
  self.requests.mark[i] = M.REJECTED
end

local function compact(list, amounts, n, gap)
  local kept = 0
  for p = 0, n - 1 do
    if amounts[p] ~= gap then
      list[kept], amounts[kept] = list[p], amounts[p]
      kept = kept + 1
    end
  end
  return kept
end

--- The plan is complete.
function Plan:close()
  if not self.has_gaps then return end
  self.num_decodes = compact(self.decodes, self.drafts, self.num_decodes, -1)
  self.num_chunks = compact(self.chunks, self.tokens, self.num_chunks, 0)
end

function Plan:is_empty() return self.num_decodes + self.num_chunks == 0 end

--- capacity: requests that may run at a time. Twice as many entries: a preempted request leaves a gap.
--- outlook, upkeep: of outlook.lua and upkeep.lua.
function M.new(requests, states, capacity, watermark, outlook, upkeep)
  local n = 2 * capacity
  local self = setmetatable({
    requests = requests, states = states, watermark = watermark,
    outlook = outlook, upkeep = upkeep,
    decodes = int32s(n), drafts = int32s(n), chunks = int32s(n), tokens = int32s(n),
    victims = int32s(capacity),
    skipped = {}, rejects = {}, reasons = {},
    -- What a policy sees that is called before the first step.
    slots_left = states:free_slots(), slots_aside = 0, kv_left = states.free_kv, kv_aside = 0,
    tokens_left = 0, seqs_left = 0, prefill_taken = 0,
  }, Plan)
  clear(self)
  return self
end

return M
