-- Random rows for the oracle specs: legal under strict, or as odd as the vLLM rules allow.
-- Everything comes from one generator of numbers, so that a seed replays a run.
--   a row: q, seq_len, drafts, accepted, prompt_done, read_column (nil: default), blocks[g][column]
local random = require "spec.support.random_config"

local chance, pick = random.chance, random.pick
local slots_of, longest, threshold_of = random.slots_of, random.longest, random.threshold_of

local M = {}

-- Kinds of rows: what they need, and how their numbers are drawn. `limit` is the longest sequence.
local MAKE = {}
function MAKE.decode() return 1, true, -1 end
function MAKE.spec(rand, S)
  local drafts = chance(rand, 60) and S or rand(0, S)
  return drafts + 1, true, drafts
end
function MAKE.no_drafts() return 1, true, 0 end
function MAKE.short(rand, _, threshold) return rand(1, threshold), false, -1 end
function MAKE.long(rand, _, threshold) return threshold + rand(1, 150), chance(rand, 20), -1 end
function MAKE.fresh(rand) return chance(rand, 30) and 1 or rand(1, 140), false, -1, true end

local STEPS = {
  { "decode" }, { "decode" }, { "spec" }, { "spec" }, { "spec", "decode" }, { "no_drafts", "decode" },
  { "short", "long", "fresh" }, { "decode", "decode", "long", "fresh" }, { "spec", "short", "long", "fresh" },
  { "decode", "spec", "short", "long", "fresh" }, { "no_drafts", "long", "fresh" }, {},
}

local function row_order(row, threshold)
  if row.seq_len == row.q then return 3 end
  if row.q > threshold then return 2 end
  return row.prompt_done and 0 or 1
end

-- The state blocks of one row in one group: written ones are taken from `pool`, the one that is read
-- is any block, and the rest is anything below num_slots.
local function blocks_of(rand, config, g, row, writes, pool)
  local width, slots, blocks = config.max_blocks_per_row, slots_of(config, g), {}
  for k = 1, width do blocks[k] = chance(rand, 30) and 0 or rand(0, slots - 1) end
  local start = 0
  if config.mamba_cache_mode == "align" then
    start = math.max(math.floor((row.seq_len - 1) / config.mamba_block_size), 0)
  end
  for k = start + 1, math.min(start + writes, width) do blocks[k] = table.remove(pool) end
  local read = row.read + 1
  if blocks[read] == 0 then blocks[read] = rand(1, slots - 1) end
  return blocks
end

-- Distinct blocks in random order, as many as the fullest step can write.
local function pool_of(rand, config, g)
  local pool, n = {}, config.max_rows * (config.num_speculative_tokens + 1)
  local first = rand(1, slots_of(config, g) - n)
  for i = 1, n do
    local j = rand(1, i)
    pool[i] = pool[j] or first + i - 1 -- j may be i
    pool[j] = first + i - 1
  end
  return pool
end

--- Rows of a legal step under strict, in the order of a batch.
function M.legal_rows(rand, config)
  local S, limit, threshold = config.num_speculative_tokens, longest(config), threshold_of(config)
  local kinds, rows, drafts = pick(rand, STEPS), {}, 0
  for _ = 1, #kinds > 0 and rand(1, config.max_rows) or 0 do
    local kind = pick(rand, kinds)
    if kind == "spec" and S == 0 then kind = "decode" end
    local q, done, draft, fresh = MAKE[kind](rand, S, threshold)
    q = math.min(q, fresh and limit or limit - 1)
    if q >= 1 and (draft < 0 or q == draft + 1) then
      local far = pick(rand, { 2 * q, 3000, 3000, limit })
      local computed = fresh and 0 or rand(1, math.min(limit - q, far))
      rows[#rows + 1] = { q = q, seq_len = computed + q, drafts = draft, accepted = rand(1, S + 1),
        prompt_done = done, order = #rows, blocks = {} }
      drafts = drafts + math.max(draft, 0)
    end
  end
  table.sort(rows, function(a, b)
    local x, y = row_order(a, threshold), row_order(b, threshold)
    if x ~= y then return x < y end
    return a.order < b.order
  end)

  local align, width = config.mamba_cache_mode == "align", config.max_blocks_per_row
  for _, row in ipairs(rows) do
    if row.seq_len == row.q then
      row.read, row.read_column = -1, chance(rand, 50) and -1 or nil
    elseif chance(rand, 50) or (align and S > 0) then
      row.read_column = rand(0, width - 1)
      row.read = row.read_column
    else
      row.read = align and math.floor((row.seq_len - row.q - 1) / config.mamba_block_size) or row.accepted - 1
    end
  end
  for g = 1, config.num_groups do
    local pool = pool_of(rand, config, g)
    for _, row in ipairs(rows) do
      local writes = drafts > 0 and row.drafts >= 0 and row.drafts + 1 or 1
      row.blocks[g] = blocks_of(rand, config, g, row, writes, pool)
    end
  end
  return rows
end

--- Rows as odd as the vLLM rules allow.
function M.odd_rows(rand, config)
  local S, limit, rows = config.num_speculative_tokens, longest(config), {}
  local speculative, small = chance(rand, 60), chance(rand, 50)
  for i = 1, rand(0, config.max_rows) do
    local q = pick(rand, small and { 0, 1, 1, 1, S + 1, S + 1 } or { 0, 1, 1, S + 1, rand(0, S + 3),
      rand(2, 130) })
    local seq = chance(rand, 85) and q + rand(0, 200) or rand(-3, 300)
    if not chance(rand, 2) then seq = math.min(seq, limit) end
    local draft = -1
    if speculative and chance(rand, 60) then draft = chance(rand, 50) and S or rand(-2, S + 2) end
    if chance(rand, 1) then draft = pick(rand, { 2147483647, -2147483648 }) end
    rows[i] = { q = q, seq_len = seq, drafts = draft, blocks = {}, prompt_done = chance(rand, 50),
      accepted = chance(rand, 90) and rand(1, S + 1) or rand(-5, 500) }
    for g = 1, config.num_groups do
      local blocks = {}
      for k = 1, config.max_blocks_per_row do
        blocks[k] = chance(rand, 98) and rand(0, 5000) or pick(rand, { -1, 2147483647, -2147483648, 65536 })
      end
      rows[i].blocks[g] = blocks
    end
  end
  return rows
end

--- A null row, as a runner pads with. Nothing but its length, drafts and blocks counts under strict.
function M.null_row(config)
  local row = { q = 0, seq_len = 0, drafts = -1, accepted = 1, prompt_done = false, blocks = {} }
  for g = 1, config.num_groups do
    row.blocks[g] = {}
    for k = 1, config.max_blocks_per_row do row.blocks[g][k] = 0 end
  end
  return row
end

--- Null rows after the rows, as a host may write them itself.
function M.add_null_rows(rand, config, rows)
  for i = #rows + 1, rand(#rows, math.max(#rows, config.max_rows)) do
    rows[i] = M.null_row(config)
    rows[i].prompt_done, rows[i].accepted = chance(rand, 50), rand(0, config.num_speculative_tokens + 3)
    rows[i].read_column = chance(rand, 50) and rand(-1, 2) or nil
    if config.mamba_cache_mode == "align" then
      local unused = config.num_speculative_blocks + 2
      for g = 1, config.num_groups do
        if rows[i].blocks[g][unused] then rows[i].blocks[g][unused] = rand(0, 9) end
      end
    end
  end
end

--- Padding: rows and tokens in all, at least as many as `rows` have.
function M.padding(rand, config, rows)
  local tokens = 0
  for _, row in ipairs(rows) do tokens = tokens + row.q end
  local padded_rows, padded_tokens = #rows, tokens
  if chance(rand, 50) then padded_rows = rand(#rows, math.max(#rows, config.max_rows)) end
  if chance(rand, 50) then padded_tokens = tokens + rand(0, 12) end
  return padded_rows, padded_tokens
end

return M
