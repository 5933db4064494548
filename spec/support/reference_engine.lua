-- What the engine must schedule, the slow and obvious way: plain tables, everything counted again when it
-- is asked for, one step at a time (no step in flight while the next is planned). For level 0 policies:
-- { decode_first, chunk, rank(request) or nil: by arrival, bound(request): whose rank is
-- above it may leave for that one, has_key = false: prompts that run go before all that wait }.
local limits = require "spec.support.reference_limits"
local results = require "spec.support.reference_results"
local shares = require "spec.support.reference_shares"

local M = {}

local Reference = {}
Reference.__index = Reference

function Reference:submit(given)
  self.count = self.count + 1
  local q = { id = given.id, prompt = given.prompt_tokens, max = given.max_tokens,
              known = given.prompt_tokens, yielded = 0,
              computed = 0, drafts = 0, arrival = given.arrival, priority = given.priority,
                order = self.count,
              blocks = 0, columns = {}, holds = 0 }
  self.by_id[q.id] = q
  table.insert(self.waiting, q)
end

local function schedule(self, q, n, drafts)
  for _, column in ipairs(limits.written(self, q, n, drafts)) do q.columns[column] = true end
  if self.c.kv_tokens then q.blocks = math.max(q.blocks, math.ceil((q.computed + n) / self.c.kv_block)) end
  table.insert(self.plan, { q = q, n = n, drafts = drafts })
  self.left = self.left - n
end

local function preempt(self, q)
  for at = #self.plan, 1, -1 do
    if self.plan[at].q == q then
      self.left = self.left + self.plan[at].n
      table.remove(self.plan, at)
    end
  end
  limits.remove(self.running, q)
  q.columns, q.blocks, q.computed, q.drafts, q.was_speculative = {}, 0, 0, 0, false
  table.insert(self.preempted, q.id)
  table.insert(self.evicted, q)
end

local function victim(self)
  local worst
  for _, q in ipairs(self.running) do
    local score = self.policy.bound and self.policy.rank or function() return 0 end
    if not worst or score(q) >= score(worst) then worst = q end
  end
  return worst
end

local function schedule_or_preempt(self, q, n, drafts)
  while true do
    local ok, is_out_of_slots = limits.fits(self, q, n, drafts)
    while drafts > 0 and (is_out_of_slots or limits.is_greedy(self, q, n, drafts)) do
      n, drafts = n - 1, drafts - 1
      ok, is_out_of_slots = limits.fits(self, q, n, drafts)
    end
    if ok then break end
    if #self.admitted > 0 then -- I21
      self.is_short, self.was_late = true, true
      return
    end
    if limits.fits(self, q, n, drafts, limits.behind(self)) then -- in the next step
      self.is_short = true
      return
    end
    local evicted = victim(self)
    preempt(self, evicted)
    self.frees_memory = true
    if evicted == q then return end
  end
  schedule(self, q, n, drafts)
end

local function run_decode(self, q)
  local drafts = math.min(q.allowed, self.left - 1, self.c.max_model_len - 2 - q.computed)
  if drafts >= 0 then schedule_or_preempt(self, q, 1 + drafts, drafts) end
end

local function take_text(self, q, n, put)
  local before = self.left
  if limits.appetite(self, q) > self.left then
    if n < limits.appetite(self, q) and n < limits.share(self, q) then shares.starve(self, q) end
    self.is_cut = true
  end
  put(self, q, n, 0)
  self.by_prompts = self.by_prompts + before - self.left
end

local function run_chunk(self, q)
  local n = limits.chunk(self, q)
  if n == 0 then shares.starve(self, q) else take_text(self, q, n, schedule_or_preempt) end
end

local function by_rank(self, list)
  local rank = self.policy.rank or function(q) return q.arrival end
  table.sort(list, function(a, b)
    if rank(a) ~= rank(b) then return rank(a) < rank(b) end
    return a.order < b.order
  end)
  return list
end

-- The running ones, in the order in which they are served.
local function in_turn(self)
  local decodes, chunks = {}, {}
  for _, q in ipairs(self.running) do table.insert(limits.is_decode(q) and decodes or chunks, q) end
  if not self.policy.decode_first then return { unpack(self.running) } end
  local turn = {}
  for at, q in ipairs(chunks) do q.at = at end
  local rank = self.policy.rank or function(q) return q.arrival end
  table.sort(chunks, function(a, b)
    if rank(a) ~= rank(b) then return rank(a) < rank(b) end
    return a.at < b.at
  end)
  for _, list in ipairs { decodes, chunks } do
    for _, q in ipairs(list) do table.insert(turn, q) end
  end
  return turn
end

-- Running requests that may leave for it, the least important first; false where that is not enough.
local function make_way(self, q, n)
  local c, policy = self.c, self.policy
  if not policy.bound or #self.evicted > 0 or self.passed then return end
  if #self.admitted > 0 and not c.admit_after_preemption then return end
  local running, leaving = { unpack(self.running) }, {}
  local kept = {}
  for _, other in ipairs(running) do kept[other] = { other.columns, other.blocks } end
  while not limits.may_come(self, q, n) do
    local worst
    for _, other in ipairs(self.running) do
      if policy.rank(other) > policy.bound(q) and other.yielded < 3
        and (not worst or policy.rank(other) >= policy.rank(worst)) then
        worst = other
      end
    end
    if not worst then
      self.running = running
      for other, was in pairs(kept) do other.columns, other.blocks = was[1], was[2] end
      return
    end
    limits.remove(self.running, worst)
    worst.columns, worst.blocks = {}, 0
    table.insert(leaving, worst)
  end
  self.running = running
  for other, was in pairs(kept) do other.columns, other.blocks = was[1], was[2] end
  for _, other in ipairs(leaving) do
    other.yielded = other.yielded + 1
    preempt(self, other)
  end
end

-- One of the queue: false where no later one is looked at.
local function consider(self, q)
  local n = limits.chunk(self, q)
  if not limits.may_come(self, q, n > 0 and n or limits.least(self, q)) then
    make_way(self, q, n > 0 and n or limits.least(self, q))
    return false
  end
  if n == 0 and self.left < 1 then
    shares.starve(self, q)
    return false
  end
  if n == 0 then
    if not self.passed then
      shares.starve(self, q)
      self.passed = q
    end
    return true
  end
  limits.remove(self.waiting, q)
  table.insert(self.running, q)
  q.allowed = 0 -- it may have paused when it was evicted
  self.begun[q] = n
  take_text(self, q, n, schedule)
  table.insert(self.admitted, q.id)
  return true
end

local function may_admit(self)
  if #self.evicted > 0 and not self.c.admit_after_preemption or self.is_short or self.is_settling then
    return false
  end
  local running = #self.running + (self.passed and 1 or 0)
  return running < self.c.seqs or self.policy.bound ~= nil
end

-- Those of the queue that go before a running prompt, all of them without one. The queue stands as it was
-- when the step began.
local function admit(self, before)
  local rank = self.policy.rank or function(q) return q.arrival end
  while self.queue and self.queue[1] do
    if not may_admit(self) then self.queue = nil return end
    local q = self.queue[1]
    if before and rank(q) >= rank(before) then return end
    if not consider(self, q) then self.queue = nil return end
    table.remove(self.queue, 1)
  end
end

-- Where a row stands in the batch: decodes, recomputed short stretches, short extends, long extends, fresh.
local function row_order(self, entry)
  local q = entry.q
  if q.computed == 0 then return 5 end
  if entry.n > 1 + self.c.num_spec then return 4 end
  if q.computed < q.prompt then return 3 end
  return q.known - q.computed == 1 and 1 or 2
end

--- The next step: rows { id, n, drafts } in order, admitted, preempted.
function Reference:step()
  self.plan, self.preempted, self.admitted, self.evicted, self.left = {}, {}, {}, {}, self.c.budget
  self.by_prompts, self.is_cut, self.is_short, self.was_late = 0, false, false, false
  self.frees_memory = false
  self.passed, self.starved, self.prompts, self.held_before, self.begun = nil, nil, #self.waiting, {}, {}
  self.is_settling = self.is_tight and #self.running > 0
  for _, q in ipairs(self.running) do
    self.held_before[q] = q.blocks
    if not limits.is_decode(q) then self.prompts = self.prompts + 1 end
  end
  shares.share_out(self)
  self.queue = by_rank(self, { unpack(self.waiting) })
  local merges = self.policy.has_key ~= false and not self.is_hungry
  for _, q in ipairs(in_turn(self)) do
    local is_here = q.columns and not self.by_id[q.id].gone
    for _, evicted in ipairs(self.evicted) do is_here = is_here and evicted ~= q end
    if merges and is_here and not limits.is_decode(q) then
      admit(self, q)
      for _, evicted in ipairs(self.evicted) do is_here = is_here and evicted ~= q end
    end
    if is_here then
      if limits.is_decode(q) then run_decode(self, q) else run_chunk(self, q) end
    end
  end
  admit(self)
  for _, q in ipairs { unpack(self.running) } do -- the pause may have been for nothing
    if q.allowed == -1 and self.left > 0 and not q.gone then
      local is_here = true
      for _, evicted in ipairs(self.evicted) do is_here = is_here and evicted ~= q end
      q.allowed = 0
      if is_here then run_decode(self, q) end
    end
  end
  self.is_tight = self.is_tight or self.frees_memory
  self.starved_before, self.is_hungry = self.starved, self.was_late
  for _, q in ipairs(self.evicted) do table.insert(self.waiting, q) end
  local rows, drafting = {}, false
  for _, entry in ipairs(self.plan) do
    drafting = drafting or row_order(self, entry) == 1 and (entry.drafts > 0 or entry.q.was_speculative)
  end
  for wanted = 1, 5 do
    for _, entry in ipairs(self.plan) do
      if row_order(self, entry) == wanted then
        local is_speculative = drafting and wanted == 1
        entry.q.was_speculative = entry.q.was_speculative or is_speculative
        table.insert(rows, { id = entry.q.id, n = entry.n, drafts = is_speculative and entry.drafts or -1 })
      end
    end
  end
  return rows, self.admitted, self.preempted
end

Reference.complete = results.complete

function Reference:cancel(id)
  local q = self.by_id[id]
  q.gone = true
  limits.remove(self.running, q)
  limits.remove(self.waiting, q)
end

--- c: a configuration of random_traffic.lua.
function M.new(c, policy)
  return setmetatable({ c = c, policy = policy, running = {}, waiting = {}, by_id = {}, count = 0,
                        pause_turn = 0 },
                      Reference)
end

return M
