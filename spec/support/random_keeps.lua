-- Checkpoints for random rows that are legal under strict, and ways to break them. A row's checkpoint_len is
-- nil or where it is, checkpoint_slots[g] where it goes.
local random = require "spec.support.random_config"

local chance, pick, slots_of = random.chance, random.pick, random.slots_of

local M = { rows = {} }

-- Slots that some row of group g names at all.
local function named(rows, g)
  local seen = { [0] = true }
  for _, row in ipairs(rows) do
    for _, block in ipairs(row.blocks[g]) do seen[block] = true end
    if row.checkpoint_slots and row.checkpoint_slots[g] then seen[row.checkpoint_slots[g]] = true end
  end
  return seen
end

local function free_slot(rand, config, rows, g)
  local seen, slots = named(rows, g), slots_of(config, g)
  for _ = 1, 50 do
    local slot = rand(1, slots - 1)
    if not seen[slot] then return slot end
  end
end

-- An offset within a row of q tokens, or nil.
local function offset_in(rand, config, q)
  if q > 64 and (not config.checkpoint_any or chance(rand, 50)) then
    return 64 * rand(1, math.floor((q - 1) / 64))
  end
  return config.checkpoint_any and q > 1 and rand(1, q - 1) or nil
end

--- Gives some rows that may have one a checkpoint.
function M.add(rand, config, rows)
  for _, row in ipairs(rows) do
    local offset = row.drafts < 0 and chance(rand, 60) and offset_in(rand, config, row.q)
    local slots, has_room = {}, offset
    for g = 1, offset and config.num_groups or 0 do
      slots[g] = free_slot(rand, config, rows, g)
      has_room = has_room and slots[g]
    end
    if has_room then
      row.checkpoint_len, row.checkpoint_slots = row.seq_len - row.q + offset, slots
    end
  end
end

function M.any(rows)
  for _, row in ipairs(rows) do
    if row.checkpoint_len then return true end
  end
  return false
end

function M.drop(rows)
  for _, row in ipairs(rows) do row.checkpoint_len, row.checkpoint_slots = nil, nil end
end

-- A row that satisfies `test`, or nil.
local function one(rand, rows, test)
  local found = {}
  for _, row in ipairs(rows) do
    if test(row) then found[#found + 1] = row end
  end
  return found[1] and pick(rand, found)
end

local function keeps(row) return row.checkpoint_len end

local function ask(rand, config, rows, row, len)
  local slots = {}
  for g = 1, config.num_groups do
    slots[g] = free_slot(rand, config, rows, g)
    if not slots[g] then return end
  end
  row.checkpoint_len, row.checkpoint_slots = len, slots
  return true
end

function M.rows.checkpoint_outside_of_row(rand, config, rows)
  local row = one(rand, rows, function(row) return row.q >= 1 and row.seq_len > row.q end)
  return row and ask(rand, config, rows, row, pick(rand, { row.seq_len - row.q, row.seq_len, 2147483647 }))
end

function M.rows.checkpoint_within_chunk(rand, config, rows)
  local row = one(rand, rows, function(row) return row.drafts < 0 and row.q > 1 end)
  if not row or config.checkpoint_any then return end
  local offset = rand(1, row.q - 1)
  return offset % 64 ~= 0 and ask(rand, config, rows, row, row.seq_len - row.q + offset)
end

function M.rows.checkpoint_of_speculative(rand, config, rows)
  local row = one(rand, rows, function(row) return row.drafts >= 1 end)
  return row and ask(rand, config, rows, row, row.seq_len - 1)
end

function M.rows.checkpoint_out_of_pool(rand, config, rows)
  local row, g = one(rand, rows, keeps), rand(1, config.num_groups)
  if not row then return end
  row.checkpoint_slots[g] = pick(rand, { 0, -1, -2147483648, slots_of(config, g), 2147483647 })
  return true
end

-- Over what some row writes or reads, itself perhaps, or over another checkpoint.
function M.rows.checkpoint_over_another(rand, config, rows)
  local row, g = one(rand, rows, keeps), rand(1, config.num_groups)
  if not row or config.check_unique == false then return end
  local other = pick(rand, rows)
  local start = config.mamba_cache_mode == "align"
    and math.max(math.floor((other.seq_len - 1) / config.mamba_block_size), 0) or 0
  local slot = other.blocks[g][start + 1]
  if other ~= row and other.checkpoint_len then
    slot = other.checkpoint_slots[g]
  elseif other.seq_len > other.q and chance(rand, 50) then
    slot = other.blocks[g][other.read + 1]
  end
  row.checkpoint_slots[g] = slot
  return true
end

return M
