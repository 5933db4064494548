-- What the engine must schedule, the slow and obvious way: plain tables, everything counted anew when it
-- is asked for, one step at a time (no step in flight while the next is planned). For level 0 policies:
-- { decode_first, chunk, rank(request) or nil: by arrival }.
local M = {}

local Reference = {}
Reference.__index = Reference

function Reference:submit(given)
  self.count = self.count + 1
  local q = { id = given.id, prompt = given.prompt_tokens, max = given.max_tokens,
              known = given.prompt_tokens,
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
    if not worst or not self.policy.rank or self.policy.rank(q) >= self.policy.rank(worst) then worst = q end
  end
  return worst
end

local function schedule_or_preempt(self, q, n, drafts)
  while not fits(self, q, n, drafts) do
    local evicted = victim(self)
    preempt(self, evicted)
    if evicted == q then return end
  end
  schedule(self, q, n, drafts)
end

local function is_decode(q) return q.computed >= q.prompt and q.known - q.computed == 1 end

local function chunk(self, q)
  local c = self.c
  local n = math.min(q.known - q.computed, self.left, self.policy.chunk or math.huge)
  if c.threshold > 0 then n = math.min(n, c.threshold) end
  if not c.align or n < 1 then return math.max(n, 0) end
  local last = math.floor(q.known / c.block) * c.block
  if c.num_spec > 0 then last = math.max(last - c.block, 0) end
  if q.computed >= last then return n end
  if q.computed + n >= last then return last - q.computed end
  return n - n % c.block
end

local function run_decode(self, q)
  local drafts = math.min(q.drafts, self.left - 1, self.c.max_model_len - 2 - q.computed)
  if drafts >= 0 then schedule_or_preempt(self, q, 1 + drafts, drafts) end
end

local function run_chunk(self, q)
  local n = chunk(self, q)
  if n > 0 then schedule_or_preempt(self, q, n, 0) end
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

local function admit(self)
  for _, q in ipairs(by_rank(self, { unpack(self.waiting) })) do
    if #self.running >= self.c.seqs or self.left < 1 then return end
    local n = chunk(self, q)
    local _, blocks = free(self)
    local reserve = self.c.kv_tokens
      and math.floor(self.c.kv_watermark * math.floor(self.c.kv_tokens / self.c.kv_block))
      or 0
    local whole = self.c.kv_tokens and math.ceil(q.known / self.c.kv_block) or 0
    if n == 0 or whole + reserve > blocks or not fits(self, q, n, 0) then return end
    remove(self.waiting, q)
    table.insert(self.running, q)
    schedule(self, q, n, 0)
    table.insert(self.admitted, q.id)
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
  local is_settling = self.is_tight and #self.running > 0
  for _, q in ipairs(in_turn(self)) do
    local is_here = q.columns and not self.by_id[q.id].gone
    for _, evicted in ipairs(self.evicted) do is_here = is_here and evicted ~= q end
    if is_here then
      if is_decode(q) then run_decode(self, q) else run_chunk(self, q) end
    end
  end
  if not is_settling and (#self.evicted == 0 or self.c.admit_after_preemption) then admit(self) end
  self.is_tight = self.is_tight or #self.evicted > 0
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
  return setmetatable({ c = c, policy = policy, running = {}, waiting = {}, by_id = {}, count = 0 },
                      Reference)
end

return M
