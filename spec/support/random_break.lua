-- Ways to break rows that are legal under strict in one clause: rows[name](rand, config, rows) returns
-- true when it found something to break.
local random = require "spec.support.random_batch"
local chances = require "spec.support.random_config"

local chance, pick, slots_of = chances.chance, chances.pick, chances.slots_of

local M = { rows = {} }

-- A row that satisfies `test`, or nil.
local function one(rand, rows, test)
  local found = {}
  for _, row in ipairs(rows) do
    if not test or test(row) then found[#found + 1] = row end
  end
  return found[1] and pick(rand, found)
end

local function computed(row) return row.seq_len > row.q end
local function fresh(row) return row.seq_len == row.q end
local function speculative(row) return row.drafts >= 0 end

local function is_spec_step(rows)
  return one(function() return 1 end, rows, function(row) return row.drafts > 0 end) ~= nil
end

-- Column (from 1) of the first block that the row writes.
local function first_written(config, row)
  if config.mamba_cache_mode ~= "align" then return 1 end
  return math.max(math.floor((row.seq_len - 1) / config.mamba_block_size), 0) + 1
end

local function outside(rand, config, g, low)
  return pick(rand, { low - 1, -1, -2147483648, slots_of(config, g), 2147483647 })
end

function M.rows.empty_row(rand, _, rows)
  if #rows < 2 then return end
  rows[rand(1, #rows - 1)].q = 0
  return true
end

function M.rows.longer_than_sequence(rand, _, rows)
  local row = one(rand, rows)
  if not row then return end
  row.seq_len = pick(rand, { row.q - 1, row.q - 2, 0, -1, -2147483648 })
  return true
end

function M.rows.negative_length(rand, _, rows)
  local row = one(rand, rows)
  if row then row.q = -rand(1, 3) return true end
end

function M.rows.drafts_out_of_range(rand, config, rows)
  local row = one(rand, rows)
  if not row then return end
  if chance(rand, 50) then
    row.drafts = pick(rand, { -2, -2147483648, 2147483647 })
  else
    local S = config.num_speculative_tokens
    row.seq_len, row.q, row.drafts, row.prompt_done = row.seq_len - row.q + S + 2, S + 2, S + 1, true
  end
  return true
end

function M.rows.length_without_drafts(rand, _, rows)
  local row = one(rand, rows, speculative)
  if row then row.q, row.seq_len = row.q + 1, row.seq_len + 1 return true end
end

function M.rows.drafts_in_prompt(rand, _, rows)
  local row = one(rand, rows, speculative)
  if row then row.prompt_done = false return true end
end

function M.rows.drafts_on_fresh_row(rand, _, rows)
  local row = one(rand, rows, speculative)
  if row then row.seq_len, row.read_column = row.q, nil return true end
end

function M.rows.accepted_out_of_range(rand, config, rows)
  local row = one(rand, rows)
  if not row then return end
  row.accepted = pick(rand, { 0, -1, config.num_speculative_tokens + 2, 2147483647, -2147483648 })
  return true
end

function M.rows.written_block_out_of_range(rand, config, rows)
  local row, g = one(rand, rows), rand(1, config.num_groups)
  if not row then return end
  local writes = is_spec_step(rows) and row.drafts >= 0 and row.drafts or 0
  row.blocks[g][first_written(config, row) + rand(0, writes)] = outside(rand, config, g, 1)
  return true
end

function M.rows.other_block_out_of_range(rand, config, rows)
  local S, g = config.num_speculative_tokens, rand(1, config.num_groups)
  local row = is_spec_step(rows) and one(rand, rows, function(r) return r.drafts >= 0 and r.drafts < S end)
  if not row then return end
  row.blocks[g][first_written(config, row) + rand(row.drafts + 1, S)] = outside(rand, config, g, 0)
  return true
end

function M.rows.block_written_twice(rand, config, rows)
  local a, g = one(rand, rows), rand(1, config.num_groups)
  local b = one(rand, rows, function(row) return row ~= a end)
  if not b or config.check_unique == false then return end
  b.blocks[g][first_written(config, b)] = a.blocks[g][first_written(config, a)]
  return true
end

function M.rows.read_column_out_of_range(rand, config, rows)
  local row = one(rand, rows)
  if not row then return end
  local wrong = { -3, 2147483647, -2147483648, computed(row) and -1 or 0,
    computed(row) and config.max_blocks_per_row or 1 }
  row.read_column = pick(rand, wrong)
  return true
end

function M.rows.read_column_missing(rand, config, rows)
  local row = one(rand, rows, computed)
  if not row or config.mamba_cache_mode ~= "align" or config.num_speculative_tokens == 0 then return end
  row.read_column = nil
  return true
end

function M.rows.read_block_out_of_range(rand, config, rows)
  local row, g = one(rand, rows, computed), rand(1, config.num_groups)
  if not row then return end
  row.read_column = row.read_column or row.read
  row.blocks[g][row.read_column + 1] = outside(rand, config, g, 1)
  return true
end

-- The first and the last row are swapped where one belongs to the decodes and one to the first chunks.
function M.rows.out_of_order(_, _, rows)
  local last = rows[#rows]
  if #rows < 2 or not (fresh(last) and computed(rows[1])) then return end
  rows[1], rows[#rows] = last, rows[1]
  return true
end

function M.rows.window_outside_of_table(rand, config, rows)
  local row = one(rand, rows)
  if not row or config.mamba_cache_mode ~= "align" then return end
  local windows = config.max_blocks_per_row - config.num_speculative_blocks
  row.seq_len = windows * config.mamba_block_size + rand(1, 3)
  return true
end

function M.rows.padding_not_empty(rand, config, rows)
  if #rows == config.max_rows then return end
  local row = random.null_row(config)
  rows[#rows + 1] = row
  local what = rand(1, 3)
  if what == 1 then row.seq_len = rand(1, 5) end
  if what == 2 then row.drafts = 0 end
  if what == 3 then row.blocks[rand(1, config.num_groups)][1] = 1 end
  return true
end

for name, break_ in pairs(require("spec.support.random_keeps").rows) do M.rows[name] = break_ end

-- In a fixed order, so that a seed picks the same.
M.names = {}
for name in pairs(M.rows) do M.names[#M.names + 1] = name end
table.sort(M.names)

return M
