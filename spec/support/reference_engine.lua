-- What the engine must schedule, the slow and obvious way: plain tables, everything counted anew when it
-- is asked for, one step at a time (no step in flight while the next is planned). For level 0 policies:
-- { decode_first, chunk, rank(request) or nil: by arrival, bound(request): whose rank is
-- above it may leave for that one, has_key = false: prompts that run go before all that wait }.
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

local function remove(list, q)
  for at, other in ipairs(list) do
    if other == q then
      table.remove(list, at)
      return
    end
  end
end

-- Slots a group and attention-cache blocks that nobody holds.
local function free(self)
  local slots, blocks = self.c.num_slots - 1, self.c.kv_tokens
    and math.floor(self.c.kv_tokens / self.c.kv_block)
  for _, q in ipairs(self.running) do
    for _ in pairs(q.columns) do slots = slots - 1 end
    blocks = blocks and blocks - q.blocks
  end
  return slots, blocks or math.huge
end

-- State columns that a step writes, as a list.
local function written(self, q, n, drafts)
  local c, columns = self.c, {}
  if not c.align then
    for column = 0, c.num_spec do columns[#columns + 1] = column end
    return columns
  end
  local start = math.floor((q.computed + n - 1) / c.block)
  for column = start, start + drafts do columns[#columns + 1] = column end
  return columns
end

local function fits(self, q, n, drafts)
  local slots, blocks = free(self)
  for _, column in ipairs(written(self, q, n, drafts)) do
    if not q.columns[column] then slots = slots - 1 end
  end
  local more = self.c.kv_tokens and math.max(math.ceil((q.computed + n) / self.c.kv_block) - q.blocks, 0) or 0
  return slots >= 0 and blocks - more >= 0
end

local function schedule(self, q, n, drafts)
  for _, column in ipairs(written(self, q, n, drafts)) do q.columns[column] = true end
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
  remove(self.running, q)
  q.columns, q.blocks, q.computed, q.drafts = {}, 0, 0, 0
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
  while not fits(self, q, n, drafts) do
    if #self.admitted > 0 then -- I21
      self.is_short, self.was_late = true, true
      return
    end
    local evicted = victim(self)
    preempt(self, evicted)
    self.makes_room = true
    if evicted == q then return end
  end
  schedule(self, q, n, drafts)
end

local function is_decode(q) return q.computed >= q.prompt and q.known - q.computed == 1 end

local function chunk(self, q)
  local c = self.c
  local n = math.min(q.known - q.computed, self.left, self.policy.chunk or math.huge)
  if c.threshold > 0 and self.prompts > 1 then n = math.min(n, c.threshold) end
  if not c.align or n < 1 then return math.max(n, 0) end
  local last = math.floor(q.known / c.block) * c.block
  if c.num_spec > 0 then last = math.max(last - c.block, 0) end
  if q.computed >= last then return n end
  if q.computed + n >= last then return last - q.computed end
  return n - n % c.block
end

-- The fewest tokens that a chunk has.
local function least(self, q)
  local c = self.c
  if not c.align then return 1 end
  local last = math.floor(q.known / c.block) * c.block
  if c.num_spec > 0 then last = math.max(last - c.block, 0) end
  return q.computed < last and math.min(c.block, last - q.computed) or 1
end

-- What decodes leave a prompt at times.
local function share(self, q)
  return math.max(least(self, q), math.min(q.known - q.computed, math.floor(self.c.budget / 8)))
end

-- Decodes left this prompt too little: they leave it in the next step.
local function starve(self, q)
  local by_decodes = self.c.budget - self.left - self.by_prompts
  if not self.starved and not self.owed and not self.is_cut and by_decodes > 0
    and least(self, q) <= self.left + by_decodes then
    self.starved = q
  end
end

-- Drafts of each decode: what was proposed, cut evenly until every decode has its token and a prompt that
-- got nothing in the last step its share; then some decodes pause, others in every step.
local function share_out(self)
  local decodes, kept = {}, 0
  for _, q in ipairs(self.running) do
    q.allowed = q.drafts
    if is_decode(q) then table.insert(decodes, q) end
  end
  local owed = self.owed
  if owed and not owed.gone and not is_decode(owed) then kept = math.min(share(self, owed), self.c.budget) end
  local function tokens(most)
    local sum = 0
    for _, q in ipairs(decodes) do sum = sum + 1 + math.min(q.allowed, most) end
    return sum
  end
  local most = self.c.num_spec
  while most > 0 and tokens(most) > self.c.budget - kept do most = most - 1 end
  for _, q in ipairs(decodes) do q.allowed = math.min(q.allowed, most) end
  local paused = tokens(most) - (self.c.budget - kept)
  if paused <= 0 then return end
  local first = self.pause_turn % #decodes
  for at = 0, paused - 1 do decodes[(first + at) % #decodes + 1].allowed = -1 end
  self.pause_turn = (first + paused) % #decodes
end

local function run_decode(self, q)
  local drafts = math.min(q.allowed, self.left - 1, self.c.max_model_len - 2 - q.computed)
  if drafts >= 0 then schedule_or_preempt(self, q, 1 + drafts, drafts) end
end

-- How much it would take if there were tokens enough.
local function appetite(self, q)
  local limit = self.c.threshold > 0 and self.prompts > 1 and self.c.threshold or math.huge
  return math.min(q.known - q.computed, self.policy.chunk or math.huge, limit)
end

local function take_text(self, q, n, put)
  local before = self.left
  if appetite(self, q) > self.left then
    if n < appetite(self, q) and n < share(self, q) then starve(self, q) end
    self.is_cut = true
  end
  put(self, q, n, 0)
  self.by_prompts = self.by_prompts + before - self.left
end

local function run_chunk(self, q)
  local n = chunk(self, q)
  if n == 0 then starve(self, q) else take_text(self, q, n, schedule_or_preempt) end
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
  for _, q in ipairs(self.running) do table.insert(is_decode(q) and decodes or chunks, q) end
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

-- Blocks that a request will hold soon.
local function outlook(self, q)
  local most = math.min(q.prompt + q.max - 1, self.c.max_model_len - 1)
  return math.ceil(math.max(q.known, math.min(q.known + self.c.kv_headroom, most)) / self.c.kv_block)
end

-- May a waiting request come in, beside those that run and one that it passes?
local function may_come(self, q, n)
  local c, passed, seats, slots, blocks = self.c, self.passed, #self.running, free(self)
  local spare, alone = blocks, #self.running == 0 and not passed
  local first = #written(self, q, n, 0)
  if passed then
    seats, slots = seats + 1, slots - #written(self, passed, least(self, passed), 0)
  end
  if seats >= c.seqs or first > slots then return false end
  if not c.kv_tokens then return true end
  local total = math.floor(c.kv_tokens / c.kv_block)
  local reserve = math.floor(c.kv_watermark * total)
  if passed then blocks = blocks - math.ceil(passed.known / c.kv_block) end
  if math.ceil(q.known / c.kv_block) + reserve > blocks then return false end
  for _, other in ipairs(self.running) do
    local planned = other.blocks - (self.held_before[other] or 0)
    spare = spare + planned - math.max(outlook(self, other) - (self.held_before[other] or 0), 0)
  end
  if passed then spare = spare - outlook(self, passed) end
  return alone or outlook(self, q) + reserve <= spare
end

-- Running requests that may leave for it, the least important first; false where that is not enough.
local function make_way(self, q, n)
  local c, policy = self.c, self.policy
  if not policy.bound or #self.evicted > 0 or self.passed then return end
  if #self.admitted > 0 and not c.admit_after_preemption then return end
  local running, leaving = { unpack(self.running) }, {}
  local kept = {}
  for _, other in ipairs(running) do kept[other] = { other.columns, other.blocks } end
  while not may_come(self, q, n) do
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
    remove(self.running, worst)
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

-- One of the queue: false where nobody behind it is looked at.
local function consider(self, q)
  local n = chunk(self, q)
  if not may_come(self, q, n > 0 and n or least(self, q)) then
    make_way(self, q, n > 0 and n or least(self, q))
    return false
  end
  if n == 0 and self.left < 1 then
    starve(self, q)
    return false
  end
  if n == 0 then
    if not self.passed then
      starve(self, q)
      self.passed = q
    end
    return true
  end
  remove(self.waiting, q)
  table.insert(self.running, q)
  q.allowed = 0 -- it may have paused when it was evicted
  take_text(self, q, n, schedule)
  table.insert(self.admitted, q.id)
  return true
end

local function may_admit(self)
  if #self.evicted > 0 and not self.c.admit_after_preemption or self.is_short or self.is_settling then
    return false
  end
  local seats = #self.running + (self.passed and 1 or 0)
  return seats < self.c.seqs or self.policy.bound ~= nil
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
local function region(self, entry)
  local q = entry.q
  if q.computed == 0 then return 5 end
  if entry.n > 1 + self.c.num_spec then return 4 end
  if q.computed < q.prompt then return 3 end
  return q.known - q.computed == 1 and 1 or 2
end

--- The next step: rows { id, n, drafts } in order, admitted, preempted.
function Reference:step()
  self.plan, self.preempted, self.admitted, self.evicted, self.left = {}, {}, {}, {}, self.c.budget
  self.by_prompts, self.is_cut, self.is_short, self.was_late, self.makes_room = 0, false, false, false, false
  self.passed, self.starved, self.prompts, self.held_before = nil, nil, #self.waiting, {}
  self.is_settling = self.is_tight and #self.running > 0
  for _, q in ipairs(self.running) do
    self.held_before[q] = q.blocks
    if not is_decode(q) then self.prompts = self.prompts + 1 end
  end
  share_out(self)
  self.queue = by_rank(self, { unpack(self.waiting) })
  local merges = self.policy.has_key ~= false and not self.is_hungry
  for _, q in ipairs(in_turn(self)) do
    local is_here = q.columns and not self.by_id[q.id].gone
    for _, evicted in ipairs(self.evicted) do is_here = is_here and evicted ~= q end
    if merges and is_here and not is_decode(q) then
      admit(self, q)
      for _, evicted in ipairs(self.evicted) do is_here = is_here and evicted ~= q end
    end
    if is_here then
      if is_decode(q) then run_decode(self, q) else run_chunk(self, q) end
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
  self.is_tight = self.is_tight or self.makes_room
  self.owed, self.is_hungry = self.starved, self.was_late
  for _, q in ipairs(self.evicted) do table.insert(self.waiting, q) end
  local rows, drafting = {}, false
  for _, entry in ipairs(self.plan) do drafting = drafting or entry.drafts > 0 end
  for wanted = 1, 5 do
    for _, entry in ipairs(self.plan) do
      if region(self, entry) == wanted then
        table.insert(rows, { id = entry.q.id, n = entry.n, drafts = drafting and wanted == 1 and entry.drafts
                             or -1 })
      end
    end
  end
  return rows, self.admitted, self.preempted
end

--- Results by id: { accepted, stop, drafts }; returns tokens emitted by id, and who is finished.
function Reference:complete(results)
  local emitted, finished = {}, {}
  for _, entry in ipairs(self.plan) do
    local q, result = entry.q, results[entry.q.id]
    if not q.gone then
      local start = self.c.align and math.floor((q.computed + entry.n - 1) / self.c.block) or 0
      q.computed = q.computed + entry.n
      q.read = start
      if q.computed >= q.known then
        q.computed = q.computed - (entry.drafts - result.accepted)
        q.read = start + result.accepted
        local n = result.stop > 0 and result.stop or result.accepted + 1
        n = math.min(n, q.max - (q.known - q.prompt), self.c.max_model_len - q.known)
        q.known, q.drafts, emitted[q.id] = q.known + n, result.drafts, n
        if result.stop > 0 and n == result.stop or q.known - q.prompt == q.max
          or q.known == self.c.max_model_len then
          q.gone, finished[q.id] = true, true
          remove(self.running, q)
        end
      end
      if self.c.align then
        for column in pairs(q.columns) do
          if column < math.floor(q.computed / self.c.block) and column ~= q.read then
            q.columns[column] = nil
          end
        end
      end
    end
  end
  if next(emitted) then self.is_tight = false end
  return emitted, finished
end

function Reference:cancel(id)
  local q = self.by_id[id]
  q.gone = true
  remove(self.running, q)
  remove(self.waiting, q)
end

--- c: a configuration of play.lua.
function M.new(c, policy)
  return setmetatable({ c = c, policy = policy, running = {}, waiting = {}, by_id = {}, count = 0,
                        pause_turn = 0 },
                      Reference)
end

return M
