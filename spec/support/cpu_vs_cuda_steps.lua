-- Random steps for a pair of builders, one on the CPU and one on a CUDA device: configurations of every
-- size, inputs on either side, and now and then a step that must be refused. All goes through C memory,
-- for there are many of them.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local parts = require "spec.support.oracle_parts"
local random = require "spec.support.random_config"
local array_of = require "gdnmeta.array_of"

local int32s = array_of "int32_t"

local chance, pick = random.chance, random.pick

local M = {}

-- Sizes that reach every home of a payload: the three launches and the ring.
local function config_of(rand, rules)
  local S = pick(rand, { 0, 0, 1, 2, 3, 3, 5 })
  local rows = pick(rand, { 4, 12, 40, 40, 150, 150, 600, 1100 })
  local mode, blocks = pick(rand, { "none", "none", "align", "all" }), S + rand(0, 1)
  local groups = pick(rand, { 1, 1, 2, 3, 3, rows > 200 and 3 or 36 })
  local windowed = parts.is_windowed({ mamba_cache_mode = mode }, rules)
  local width = windowed and 1 + blocks + rand(0, 8) or S + 1 + rand(0, 4)
  local checked = groups <= 3 and chance(rand, 30) -- a word for each slot of each group
  local config = {
    check = checked, poison = checked and chance(rand, 50),
    rules = rules, num_speculative_tokens = S, max_num_seqs = rand(1, rows), max_rows = rows,
    full_cuda_graph = chance(rand, 60),
    max_cudagraph_capture_size = chance(rand, 40) and rand(1, rows) or nil, num_speculative_blocks = blocks,
    mamba_cache_mode = mode, mamba_block_size = pick(rand, { 1, 16, 100, 544 }), num_groups = groups,
    max_num_batched_tokens = rows * 40 + 600, max_requests = rows + rand(0, 3),
    max_blocks_per_row = width,
    num_slots = (checked and 70000 or pick(rand, { 70000, 4000000 })) + rows * width * 2,
    check_unique = chance(rand, 80), parallel_drafting = chance(rand, 10),
    pad_slot_id = chance(rand, 30) and -1 or 0, query_start_loc_dtype = pick(rand, { "int32", "int64" }),
  }
  if rules == "strict" and chance(rand, 45) then config.full_cuda_graph = "mixed" end
  if rules == "vllm-2026-11" then random.add_checkpoints(rand, config) end
  if rules == "strict" then
    config.checkpoint_any = chance(rand, 40)
    config.gdn_prefill_backend = pick(rand, { "triton", "triton", "flashinfer" })
  end
  return config
end

-- Checkpoints follow from lengths, which must then be on the host.
local function keeps_checkpoints(config)
  return config.mamba_cache_mode == "align" and (config.num_prefill_checkpoint_blocks or 0) > 0
    and config.hash_block_size and config.cache_hit_alignment_tokens
end

local Pair = {}
Pair.__index = Pair

-- All cells of a table differ; a stride spreads them over more than 16 bits, or does not.
local function write_tables(self, rand)
  local config, cells = self.config, self.config.max_requests * self.config.max_blocks_per_row
  for g = 0, config.num_groups - 1 do
    local step = chance(rand, 30) and math.floor((config.num_slots - 2) / cells) or 1
    local base = rand(1, config.num_slots - 1 - step * (cells - 1))
    local a, b = lib.gdn_builder_table(self.cpu.handle, g), self.tables[g]
    local prime = cells % 7919 == 0 and 1 or 7919
    for i = 0, cells - 1 do a[i] = base + step * ((i * prime + g) % cells) end
    ffi.copy(b, a, cells * 4)
    if self.device_tables[g] then
      self.driver:write(self.device_tables[g], b, cells)
    else
      ffi.copy(lib.gdn_builder_table(self.gpu.handle, g), a, cells * 4)
    end
  end
end

--- A pair of builders with batches and tables; close() it.
function M.open(rand, driver, rules)
  local config = config_of(rand, rules)
  local self = setmetatable({ config = config, driver = driver, tables = {}, device_tables = {} }, Pair)
  local options = {}
  for name, value in pairs(config) do options[name] = value end
  options.device = "cpu"
  self.cpu = assert(gdn.builder(options))
  options.device = "cuda"
  self.gpu = assert(gdn.builder(options))
  self.a, self.b = assert(self.cpu:batch()), assert(self.gpu:batch())
  local n, cells = config.max_rows, config.max_requests * config.max_blocks_per_row
  self.spare = int32s(n + 8)
  local all = chance(rand, 30)
  for g = 0, config.num_groups - 1 do
    self.tables[g] = int32s(cells)
    if all or chance(rand, 15) then
      self.device_tables[g] = driver:int32(cells)
      assert(self.gpu:borrow_device_table(g, self.device_tables[g], config.max_blocks_per_row,
        config.max_requests))
    end
  end
  self.has_tables = next(self.device_tables) ~= nil
  -- align with lengths on the device wants all tables there
  local windowed = parts.is_windowed(config, config.rules)
  if (all or not windowed) and chance(rand, 30) and not keeps_checkpoints(config) then
    self.seq_lens = driver:int32(n + 8)
    assert(self.gpu:borrow_device_seq_lens(self.seq_lens, n + 8))
  end
  if chance(rand, 30) then
    self.accepted = driver:int32(n + 8)
    assert(self.gpu:borrow_device_accepted(self.accepted, n + 8))
  end
  write_tables(self, rand)
  return self
end

function Pair:close()
  self.a:close()
  self.b:close()
  self.cpu:close()
  self.gpu:close()
  for _, name in ipairs { "seq_lens", "accepted" } do
    if self[name] then self.driver:free(self[name]) end
  end
  for _, memory in pairs(self.device_tables) do self.driver:free(memory) end
end

-- Kinds of rows for a step, in the order of a batch.
local function draw_row(rand, config, kind, limit)
  local S = config.num_speculative_tokens
  if kind == "spec" then
    local d = chance(rand, 70) and S or rand(0, S)
    return d + 1, rand(1, math.max(limit - d - 1, 1)), d, 1
  elseif kind == "decode" then
    return 1, rand(1, math.max(limit - 1, 1)), -1, 1
  elseif kind == "long" then
    return 2 * S + 2 + rand(0, 60), rand(1, 100), -1, 0
  end
  return chance(rand, 20) and 1 or rand(1, 70), 0, -1, 0
end

local SHAPES = { { decode = 1 }, { decode = 1 }, { spec = 1 }, { spec = 1 }, { spec = 2, decode = 1 },
  { decode = 4, long = 1, fresh = 1 }, { spec = 3, decode = 2, fresh = 1, long = 1 }, { fresh = 1 },
  { long = 1 } }
local ORDER = { "spec", "decode", "long", "fresh" }

-- Slots above those of tables: a step of some keeps states, of the rows that may.
local function keep_states(self, rand, n)
  local config, c = self.config, self.a.rows
  local keeps = config.rules == "strict" and chance(rand, 40)
  local top = config.num_slots - 1
  for i = 0, config.rules == "strict" and n - 1 or -1 do
    local q, offset = c.query_len[i], 0
    if keeps and c.num_draft_tokens[i] < 0 and q > 1 and not self.seq_lens then
      offset = config.checkpoint_any and rand(1, q - 1) or q > 64 and 64 or 0
    end
    c.checkpoint_len[i] = offset > 0 and c.seq_len[i] - q + offset or 0
    for g = 0, config.num_groups - 1 do
      local slot = top - (i * 7 + g) % c.max_rows
      c.checkpoint_slot[g * c.max_rows + i] = chance(rand, 1) and rand(0, top) or slot
    end
  end
end

-- Writes the step into the CPU's batch; returns its rows. Now and then it is one to be refused.
function Pair:draw(rand)
  local config, c = self.config, self.a.rows
  local strict, align = config.rules == "strict", parts.is_windowed(config, config.rules)
  local windows = config.max_blocks_per_row - config.num_speculative_blocks
  local limit = align and windows * config.mamba_block_size or 5000
  local shape, left = pick(rand, SHAPES), rand(0, config.max_rows)
  local weight = 0
  for _, w in pairs(shape) do weight = weight + w end
  local kinds, tokens = {}, 0
  for _, kind in ipairs(ORDER) do
    local w = shape[kind]
    if kind == "spec" and config.num_speculative_tokens == 0 then kind = "decode" end
    for _ = 1, w and math.floor(left * w / weight) or 0 do kinds[#kinds + 1] = kind end
  end
  local first_request = rand(0, config.max_requests - 1)
  local n, mingle = 0, chance(rand, 50)
  for i = 1, #kinds do
    local kind = kinds[i]
    -- decodes of both kinds may stand in any order among themselves
    if mingle and shape.spec and (kind == "spec" or kind == "decode") then
      kind = config.num_speculative_tokens > 0 and chance(rand, 70) and "spec" or "decode"
    end
    local q, computed, drafts, done = draw_row(rand, config, kind, limit)
    if not strict and chance(rand, 3) then q = rand(0, 3) end
    if q + computed > limit then q = math.min(q, limit) computed = math.min(computed, limit - q) end
    if tokens + q > config.max_num_batched_tokens then break end
    tokens = tokens + q
    c.query_len[n], c.seq_len[n], c.num_draft_tokens[n], c.prompt_done[n] = q, q + computed, drafts, done
    c.num_accepted_tokens[n] = rand(1, config.num_speculative_tokens + 1)
    c.table_row[n] = (first_request + n) % config.max_requests
    c.read_column[n] = computed == 0 and -1 or -2
    if computed > 0 and (align and config.num_speculative_tokens > 0 or chance(rand, 15)) then
      c.read_column[n] = rand(0, config.max_blocks_per_row - 1)
    end
    n = n + 1
  end
  keep_states(self, rand, n)
  c.num_rows, c.padded_rows, c.padded_tokens = n, 0, 0
  if chance(rand, 40) and n > 0 then
    c.padded_rows = rand(n, config.max_rows)
    c.padded_tokens = math.min(tokens + rand(0, 40), config.max_num_batched_tokens)
    if c.padded_tokens == 0 then c.padded_tokens = 1 end
  end
  -- rarely something that must be refused
  if n > 0 and chance(rand, 4) then
    local i, field = rand(0, n - 1), pick(rand, { "query_len", "num_draft_tokens", "table_row" })
    local odd = { 900000, config.max_requests, -5, 0 }
    c[field][i] = odd[rand(1, field == "table_row" and 2 or 4)] -- -5 would be a row of the batch's own
  end
  return n
end

-- One more or less in one element; what only the device sees stays as it is, and own rows are no table's.
local function change_element(self, rand)
  local c, i = self.a.rows, rand(0, self.a.rows.num_rows - 1)
  local fields = { "query_len", "num_draft_tokens", "prompt_done", "table_row" }
  if not self.accepted then fields[#fields + 1] = "num_accepted_tokens" end
  if not self.seq_lens then
    fields[#fields + 1], fields[#fields + 2] = "seq_len", "read_column"
    if self.config.rules == "strict" then fields[#fields + 1] = "checkpoint_len" end
  end
  local field = pick(rand, fields)
  c[field][i] = c[field][i] + pick(rand, { -1, 1 })
  if field == "table_row" then c.table_row[i] = math.max(c.table_row[i], 0) end
end

local function change_cell(self, rand)
  local config = self.config
  local g, i = rand(0, config.num_groups - 1), rand(0, self.a.rows.num_rows - 1)
  local row = math.min(math.max(self.a.rows.table_row[i], 0), config.max_requests - 1)
  local cell = row * config.max_blocks_per_row + rand(0, config.max_blocks_per_row - 1)
  local slot = rand(1, config.num_slots - 1)
  lib.gdn_builder_table(self.cpu.handle, g)[cell] = slot
  self.tables[g][cell] = slot
  if self.device_tables[g] then
    self.driver:write(self.device_tables[g], self.tables[g], config.max_requests * config.max_blocks_per_row)
  else
    lib.gdn_builder_table(self.gpu.handle, g)[cell] = slot
  end
end

--- The last step again, or almost: sequences may be a token longer, an element of rows or tables another.
function Pair:redraw(rand)
  local c, what = self.a.rows, rand(1, 100)
  if c.num_rows == 0 or what <= 45 then return c.num_rows end
  if what <= 60 then
    for i = 0, c.num_rows - 1 do
      c.seq_len[i] = c.seq_len[i] + (c.seq_len[i] > c.query_len[i] and c.checkpoint_len[i] == 0 and 1 or 0)
    end
  elseif what <= 85 then
    change_element(self, rand)
  else
    change_cell(self, rand)
  end
  return c.num_rows
end

-- The same step in the device builder's batch; what is on the device is scrambled on the host.
function Pair:copy(rand, n)
  local a, b, spare = self.a.rows, self.b.rows, self.spare
  for _, name in ipairs { "query_len", "seq_len", "num_draft_tokens", "num_accepted_tokens", "prompt_done",
    "table_row", "read_column", "checkpoint_len" } do
    ffi.copy(b[name], a[name], n * 4)
  end
  ffi.copy(b.checkpoint_slot, a.checkpoint_slot, self.config.num_groups * a.max_rows * 4)
  b.num_rows, b.padded_rows, b.padded_tokens = n, a.padded_rows, a.padded_tokens
  b.indexed = chance(rand, 50) and 1 or 0
  local length = self.config.max_rows + 8
  for _, name in ipairs { "seq_lens", "accepted" } do
    if self[name] then
      local values = name == "seq_lens" and a.seq_len or a.num_accepted_tokens
      local hidden = name == "seq_lens" and b.seq_len or b.num_accepted_tokens
      local index = name == "seq_lens" and b.seq_index or b.accepted_index
      local shift = rand(0, length - 1)
      for i = 0, length - 1 do spare[i] = -77 end
      for i = 0, n - 1 do
        local at = b.indexed == 1 and (i * 1 + shift) % length or i
        if name == "accepted" and b.indexed == 1 and values[i] > 0 and chance(rand, 10) then
          index[i] = -2 -- the host's count
        else
          index[i] = at == i and -1 or at
          spare[at] = values[i]
          hidden[i] = -1000 - i
        end
      end
      self.driver:write(self[name], spare, length)
    end
  end
end

return M
