-- Where prefills keep a state before their end, and the plan of the kernel that keeps it: section 15.8, and
-- as rows ask under strict.
local parts = require "spec.support.oracle_parts"

local vector = parts.vector
local floor, ceil, max = math.floor, math.ceil, math.max

local M = {}

local function gcd(a, b)
  while b > 0 do a, b = b, a % b end
  return a
end

-- Offset and column of a row, or nil. Lua's floor and % are the mathematical ones.
local function checkpoint(config, seq_len, query_len)
  local block, align = config.mamba_block_size, config.prefill_checkpoint_alignment
  local hash, hit = config.hash_block_size, config.cache_hit_alignment_tokens
  local lookahead = config.num_hash_lookahead_tokens or 0
  local drops = config.drop_eagle_block and (config.num_speculative_tokens or 0) > 0 and lookahead == 0
  if not align then return nil end
  local start = seq_len - query_len
  local limit = drops and seq_len or seq_len - max(1, lookahead)
  local position = max(floor(limit / hit) * hit - (drops and hit or 0), 0)
  local column = ceil(seq_len / block) - 2
  local valid = start % hash == 0 and column > floor((start - 1) / block) and column >= 0
    and start + hash <= position and start < position and position < seq_len
    and (position - start) % align == 0
  if valid then return position - start, column end
end

--- Tokens of a row in front of its checkpoint and the column of its table, or nothing.
M.place = checkpoint

-- The plan of flashinfer's kernel; lengths: of the rows of prefill_query_start_loc, the last of those rows.
local function add_plan(out, offsets, every, lengths)
  local kept = {}
  for i, length in ipairs(lengths) do kept[i] = floor(length / every) end
  local starts, at = parts.boundaries(kept), {}
  for i, offset in ipairs(offsets) do
    local prefill = i - (#offsets - #lengths)
    at[i] = offset > 0 and prefill >= 1 and starts[prefill] + offset / every - 1 or 0
  end
  out.checkpoint_every_n_tokens, out.num_checkpoints = every, starts[#starts]
  out.checkpoint_cu_starts, out.checkpoint_rows = vector("int64", starts), vector("int64", at)
end

--- Adds the fields to a record. rows: those that may have a checkpoint, { q, seq_len, cells[g] }; lengths: of
--- the rows of prefill_query_start_loc.
function M.add(out, groups, config, rows, lengths)
  if not (config.mamba_cache_mode == "align" and (config.num_prefill_checkpoint_blocks or 0) > 0
    and config.hash_block_size and config.cache_hit_alignment_tokens) then return end
  local offsets, slots, every = {}, {}, 0
  for g = 1, #groups do slots[g] = {} end
  for i, row in ipairs(rows) do
    local offset, column = checkpoint(config, row.seq_len, row.q)
    offsets[i] = offset or 0
    every = gcd(every, offsets[i])
    for g = 1, #groups do slots[g][i] = offset and row.cells[g][column + 1] or 0 end
  end
  if every == 0 then return end
  out.checkpoint_offsets = vector("int32", offsets)
  for g, group in ipairs(groups) do group.checkpoint_state_indices = vector("int32", slots[g]) end
  local align = config.prefill_checkpoint_alignment
  if config.gdn_prefill_backend ~= "flashinfer" or align % 64 ~= 0 then return end
  add_plan(out, offsets, every, lengths)
end

--- The same under strict: rows say where. rows: prefills, { q, keep = offset or 0, keep_slots[g] }. n: rows
--- of the outputs in a bucket; nil: without one there are no outputs where no row keeps a state.
function M.add_asked(out, groups, config, rows, n)
  local offsets, chunks, lengths, every, chunk = {}, {}, {}, 0, 0
  local pad = n and config.pad_slot_id or 0
  for i, row in ipairs(rows) do
    offsets[i], lengths[i], every = row.keep, row.q, gcd(every, row.keep)
    chunks[i] = row.keep > 0 and row.keep % 64 == 0 and chunk + row.keep / 64 or -1
    chunk = chunk + ceil(row.q / 64)
  end
  if every == 0 and not n then return end
  n = n or #rows
  local triton = config.gdn_prefill_backend ~= "flashinfer"
  out.checkpoint_offsets = vector("int32", parts.padded(offsets, n, 0))
  if triton or out.token_class then out.checkpoint_chunk = vector("int32", parts.padded(chunks, n, -1)) end
  for g, group in ipairs(groups) do
    local slots = {}
    for i, row in ipairs(rows) do slots[i] = row.keep > 0 and row.keep_slots[g] or pad end
    group.checkpoint_state_indices = vector("int32", parts.padded(slots, n, pad))
  end
  if triton or out.token_class or every % 64 ~= 0 then return end
  add_plan(out, offsets, every, lengths)
end

return M
