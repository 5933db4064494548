-- One random step for the oracle specs: the arguments, the path through the API, and which clause it
-- breaks, if any.
local breaks = require "spec.support.random_break"
local broken = require "spec.support.random_break_raw"
local chances = require "spec.support.random_config"
local feed = require "spec.support.submit_paths"
local parts = require "spec.support.oracle_parts"
local keeps = require "spec.support.random_keeps"
local random = require "spec.support.random_batch"

local chance, pick = chances.chance, chances.pick

local M = {}

-- A bucket: mostly one of a few of this builder, so that steps of one bucket follow each other.
local function bucket_of(rand, config, rows, tokens)
  local part, most = rand(1, 3) / 3, config.max_num_batched_tokens
  local R, T = math.ceil(config.max_rows * part), math.ceil(most * part)
  if #rows > R or tokens > T then R, T = config.max_rows, math.max(tokens, most) end
  if chance(rand, 25) then return random.padding(rand, config, rows) end
  if chance(rand, 2) then R = config.max_rows + 1 end
  if chance(rand, 2) then T = math.max(tokens, most + 1) end
  return R, T
end

--- The same as M.draw for full_cuda_graph = "mixed", whose steps are batches and captures of buckets.
function M.draw_bucket(rand, config)
  local rows, must, tokens = random.legal_rows(rand, config), nil, 0
  if chance(rand, 50) then keeps.add(rand, config, rows) end
  if chance(rand, 30) then
    local name = pick(rand, breaks.names)
    must = breaks.rows[name](rand, config, rows) and name or nil
  end
  for _, row in ipairs(rows) do tokens = tokens + row.q end
  local R, T = bucket_of(rand, config, rows, tokens)
  if chance(rand, 10) then -- broken rows may come to less than no token
    return { capture = true, num_reqs = R, num_actual_tokens = math.max(T, 0) }, "bucket", rows
  end
  local null_row = random.null_row(config)
  local path = pick(rand, { "add", "push", "write" })
  if not feed.plain(rows) then path = "write" end
  if path == "push" and keeps.any(rows) then path = "add" end
  return feed.inputs(config, rows, null_row, R, T), path, rows, must
end

-- Tables of another width than the builder's own.
local function reshape_tables(rand, config, inputs)
  local cols = rand(1, inputs.block_table_cols + 2)
  for _, rows in ipairs(parts.tables(config, inputs)) do
    for _, row in ipairs(rows) do
      for k = cols + 1, #row do row[k] = nil end
      for k = #row + 1, cols do row[k] = rand(0, 999) end
    end
  end
  inputs.block_table_cols = cols
end

-- Oddities that only vLLM's own arguments can express.
local function twist(rand, config, inputs)
  if chance(rand, 1) then broken.inputs.too_many_rows(rand, config, inputs) end
  if chance(rand, 15) then inputs.max_query_len = rand(-1, 3) end
  if chance(rand, 10) then inputs.num_reqs = inputs.num_reqs + rand(-2, 2) end
  if chance(rand, 10) then inputs.num_actual_tokens = rand(-1, inputs.num_actual_tokens + 40) end
  if chance(rand, 25) then inputs.num_decode_draft_tokens = nil end
  if chance(rand, 10) then inputs.num_accepted_tokens = nil end
  if chance(rand, 4) then broken.inputs.array_length(rand, config, inputs) end
  if chance(rand, 2) then broken.inputs.table_length(rand, config, inputs) end
  if chance(rand, 1) then broken.inputs.too_many_tokens(rand, config, inputs) end
  if chance(rand, 1) then broken.inputs.bad_boundaries(rand, config, inputs) end
  if chance(rand, 10) then reshape_tables(rand, config, inputs) end
end

-- Arguments of a capture: mostly uniform rows, sometimes with zero-length rows after them.
local function capture_inputs(rand, config, rows, null_row)
  local S = config.num_speculative_tokens
  local q = chance(rand, 50) and S + 1 or 1
  local drafts = q == 1 and chance(rand, 30) and 0 or -1
  local n = chance(rand, 80) and rand(0, math.min(config.max_num_seqs, config.max_rows)) or #rows
  local uniform = {}
  for i = 1, n do
    local row = rows[i] or null_row
    uniform[i] = { q = chance(rand, 97) and q or rand(0, S + 3), seq_len = row.seq_len,
      drafts = chance(rand, 99) and drafts or rand(-2, 1), accepted = 1, prompt_done = false,
      blocks = row.blocks }
  end
  local inputs = feed.inputs(config, uniform, null_row, random.padding(rand, config, uniform))
  inputs.capture = true
  return inputs
end

--- Arguments (those of build_raw, and `capture`), a name in feed.paths, the rows for a batch, and the
--- clause of strict that the step breaks, nil when it breaks none on purpose.
function M.draw(rand, rules, config)
  local strict, null_row = rules == "strict", random.null_row(config)
  local make = (strict or chance(rand, 40)) and random.legal_rows or random.odd_rows
  local rows = make(rand, config)
  if strict and chance(rand, 50) then keeps.add(rand, config, rows) end
  local must
  if strict and chance(rand, 30) then
    local name = pick(rand, breaks.names)
    must = breaks.rows[name](rand, config, rows) and name or nil
  end
  if chance(rand, 12) then
    keeps.drop(rows)
    local inputs = capture_inputs(rand, config, rows, null_row)
    if strict and chance(rand, 40) then inputs.block_table, inputs.seq_lens = nil, nil end
    return inputs, "raw", rows
  end
  if chance(rand, 15) then random.add_null_rows(rand, config, rows) end
  local path = pick(rand, { "raw", "raw", "add", "push", "write" })
  if keeps.any(rows) and (path == "push" or path == "raw") then path = "add" end
  local inputs = feed.inputs(config, rows, null_row, random.padding(rand, config, rows))
  if path ~= "raw" and path ~= "write" and not feed.plain(rows) then path = "write" end
  if path == "raw" and strict and not must then
    local name = chance(rand, 20) and pick(rand, broken.names)
    must = name and broken.inputs[name](rand, config, inputs) and name or nil
    if not must then
      if chance(rand, 10) then inputs.prompt_done = nil end
      if chance(rand, 10) then inputs.read_column = nil end
    end
  elseif path == "raw" and not strict then
    twist(rand, config, inputs)
  end
  return inputs, path, rows, must
end

return M
