-- How much of a step and of the pools a request may have, the slow and obvious way: the half of
-- reference_engine.lua that looks and changes nothing. `self` is its engine, q a request of it.
local M = {}

function M.remove(list, q)
  for at, other in ipairs(list) do
    if other == q then
      table.remove(list, at)
      return
    end
  end
end

-- Slots per group and attention-cache blocks that no request holds.
function M.free(self)
  local slots, blocks = self.c.num_slots - 1, self.c.kv_tokens
    and math.floor(self.c.kv_tokens / self.c.kv_block)
  for _, q in ipairs(self.running) do
    for _ in pairs(q.columns) do slots = slots - 1 end
    blocks = blocks and blocks - q.blocks
  end
  return slots, blocks or math.huge
end

-- State columns that a step writes, as a list.
function M.written(self, q, n, drafts)
  local c, columns = self.c, {}
  if not c.align then
    for column = 0, c.num_spec do columns[#columns + 1] = column end
    return columns
  end
  local start = math.floor((q.computed + n - 1) / c.block)
  for column = start, start + drafts do columns[#columns + 1] = column end
  return columns
end

-- `more`: slots besides those that are free. Also returns whether it is slots that are too few.
function M.fits(self, q, n, drafts, more)
  local slots, blocks = M.free(self)
  for _, column in ipairs(M.written(self, q, n, drafts)) do
    if not q.columns[column] then slots = slots - 1 end
  end
  if self.c.kv_tokens then
    blocks = blocks - math.max(math.ceil((q.computed + n) / self.c.kv_block) - q.blocks, 0)
  end
  slots = slots + (more or 0)
  return slots >= 0 and blocks >= 0, slots < 0
end

-- Do drafts reach into another block at the cost of a slot that a request without a row yet may need?
function M.is_greedy(self, q, n, drafts)
  local held, more, left = 0, 0, M.free(self)
  for _ in pairs(q.columns) do held = held + 1 end
  for _, column in ipairs(M.written(self, q, n, drafts)) do
    if not q.columns[column] then more = more + 1 end
  end
  for _, other in ipairs(self.running) do
    local has_row = other == q
    for _, entry in ipairs(self.plan) do has_row = has_row or entry.q == other end
    if not has_row then left = left - 1 end
  end
  return drafts > 0 and more > 0 and held + more > 1 + self.c.num_spec and more > left
end

-- Slots in blocks that this step leaves behind.
function M.behind(self)
  local slots = 0
  for _, entry in ipairs(self.c.align and self.plan or {}) do
    local first = M.written(self, entry.q, entry.n, entry.drafts)[1]
    for column in pairs(entry.q.columns) do
      if column < first then slots = slots + 1 end
    end
  end
  return slots
end

function M.is_decode(q) return q.computed >= q.prompt and q.known - q.computed == 1 end

function M.chunk(self, q)
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
function M.least(self, q)
  local c = self.c
  if not c.align then return 1 end
  local last = math.floor(q.known / c.block) * c.block
  if c.num_spec > 0 then last = math.max(last - c.block, 0) end
  return q.computed < last and math.min(c.block, last - q.computed) or 1
end

-- What decodes leave a prompt at times.
function M.share(self, q)
  return math.max(M.least(self, q), math.min(q.known - q.computed, math.floor(self.c.budget / 8)))
end

-- How much it would take if there were tokens enough.
function M.appetite(self, q)
  local limit = self.c.threshold > 0 and self.prompts > 1 and self.c.threshold or math.huge
  return math.min(q.known - q.computed, self.policy.chunk or math.huge, limit)
end

-- Blocks that a request will hold soon.
function M.outlook(self, q)
  local most = math.min(q.prompt + q.max - 1, self.c.max_model_len - 1)
  return math.ceil(math.max(q.known, math.min(q.known + self.c.kv_headroom, most)) / self.c.kv_block)
end

-- Slots a group that those who run, one that is passed and one that comes will need to go on: the columns of
-- a step with drafts each; where none drafts, one for each that moves to another block, as far as a step
-- computes whole blocks of them, but on average one decode a block's tokens.
local function upkeep(self, newcomer, n)
  local c, slots, blocks, ends = self.c, 0, 0, 0
  local function count(q, taken)
    local last = math.min(q.prompt + q.max - 1, c.max_model_len - 1)
    local final = math.floor((last - 1) / c.block)
    slots = slots + math.min(1 + c.num_spec, final + 1 + (q.max > 1 and c.num_spec or 0))
    if c.num_spec > 0 or final == math.floor(math.max(q.computed - 1, 0) / c.block) then return end
    if q.known - q.computed - taken > c.block then blocks = blocks + 1 else ends = ends + 1 end
  end
  for _, q in ipairs(self.running) do count(q, self.begun[q] or 0) end
  if self.passed then count(self.passed, M.least(self, self.passed)) end
  count(newcomer, n)
  local most = math.max(math.floor(c.budget / c.block), 1)
  return slots + math.min(blocks + ends, math.min(blocks, most) + math.ceil(ends / c.block))
end

-- May a waiting request come in, beside those that run and one that it passes?
function M.may_come(self, q, n)
  local c, passed, running, slots, blocks = self.c, self.passed, #self.running, M.free(self)
  local spare, alone = blocks, #self.running == 0 and not passed
  local first = #M.written(self, q, n, 0)
  if passed then
    running, slots = running + 1, slots - #M.written(self, passed, M.least(self, passed), 0)
  end
  if running >= c.seqs or first > slots then return false end
  if c.align and not alone and upkeep(self, q, n) > c.num_slots - 1 then return false end
  if not c.kv_tokens then return true end
  local total = math.floor(c.kv_tokens / c.kv_block)
  local reserve = math.floor(c.kv_watermark * total)
  if passed then blocks = blocks - math.ceil(passed.known / c.kv_block) end
  if math.ceil(q.known / c.kv_block) + reserve > blocks then return false end
  for _, other in ipairs(self.running) do
    local planned = other.blocks - (self.held_before[other] or 0)
    spare = spare + planned - math.max(M.outlook(self, other) - (self.held_before[other] or 0), 0)
  end
  if passed then spare = spare - M.outlook(self, passed) end
  return alone or M.outlook(self, q) + reserve <= spare
end

return M
