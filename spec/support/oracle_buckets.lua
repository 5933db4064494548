-- Rules strict with full_cuda_graph = "mixed": the table of buckets, tensor by tensor.
local parts = require "spec.support.oracle_parts"
local checkpoints = require "spec.support.oracle_checkpoints"
local legal = require "spec.support.oracle_legal"

local vector, matrix, padded = parts.vector, parts.matrix, parts.padded

local M = {}

-- What `take` says of each row.
local function of(rows, take)
  local out = {}
  for i, row in ipairs(rows) do out[i] = take(row) end
  return out
end

local function starts_of(rows) return parts.boundaries(of(rows, function(row) return row.q end)) end

-- Rows by class in their order, the positions of their tokens, and the class of every token of the batch.
local function classify(rows, S)
  local spec, plain = { at = {} }, { at = {} }
  local decodes, prefills, class_of_token, t = {}, {}, {}, 0
  for _, row in ipairs(rows) do
    local is_spec = S > 0 and row.drafts >= 0
    local class, list = 1, spec
    if not is_spec then
      list = plain
      local is_prefill = #prefills > 0 or row.q > 1 or row.fresh
      class = is_prefill and 3 or 2
      table.insert(is_prefill and prefills or decodes, row)
    end
    list[#list + 1] = row
    for _ = 1, row.q do
      list.at[#list.at + 1] = t
      t = t + 1
      class_of_token[t] = class
    end
  end
  return spec, plain, decodes, prefills, class_of_token
end

local function tokens_of(rows)
  local starts = starts_of(rows)
  return starts[#starts]
end

local function bounds(config, starts, length)
  return vector(config.query_start_loc_dtype or "int32", padded(starts, length, starts[#starts]))
end

local function reads(g) return function(row) return row.read[g] end end
local function writes(g) return function(row) return row.window[g][1] end end

local function add_spec(out, groups, config, rows, R, T, S, pad)
  out.spec_query_start_loc = bounds(config, starts_of(rows), R + 1)
  out.num_accepted_tokens = vector("int32", padded(of(rows, function(row) return row.accepted end), R, 1))
  out.spec_conv_shift = vector("int32", padded(of(rows, function(row) return row.shift end), R, 0))
  out.spec_token_indx = vector("int64", padded(rows.at, T, T))
  out.uniform_spec_sequence_length = parts.common(of(rows, function(row) return row.q end))
  local none = {}
  for k = 1, S + 1 do none[k] = pad end
  for g, group in ipairs(groups) do
    local slots = of(rows, function(row) return parts.first(row.window[g], S + 1) end)
    group.spec_state_indices_tensor = matrix("int32", padded(slots, R, none), S + 1)
    group.spec_read_state_indices = vector("int32", padded(of(rows, reads(g)), R, pad))
  end
end

local function add_plain(out, groups, config, rows, R, pad)
  out.non_spec_query_start_loc = bounds(config, starts_of(rows), R + 2)
  out.non_spec_conv_shift = vector("int32", padded(of(rows, function(row) return row.shift end), R + 1, 0))
  out.has_initial_state =
    vector("bool", padded(of(rows, function(row) return not row.fresh end), R + 1, false))
  for g, group in ipairs(groups) do
    group.non_spec_state_indices_tensor = vector("int32", padded(of(rows, writes(g)), R + 1, pad))
    group.non_spec_read_state_indices = vector("int32", padded(of(rows, reads(g)), R + 1, pad))
  end
end

local function add_decodes(out, groups, config, rows, R, pad)
  out.decode_query_start_loc = bounds(config, starts_of(rows), R + 1)
  for g, group in ipairs(groups) do
    group.decode_state_indices = vector("int32", padded(of(rows, writes(g)), R, pad))
    group.decode_read_state_indices = vector("int32", padded(of(rows, reads(g)), R, pad))
  end
end

local function add_prefills(out, groups, config, rows, from, R, T, pad)
  local starts, pairs_, offsets = starts_of(rows), {}, { 0 }
  for i = 1, #starts do starts[i] = starts[i] + from end
  out.prefill_query_start_loc = bounds(config, starts, R + 2)
  out.prefill_has_initial_state =
    vector("bool", padded(of(rows, function(row) return not row.fresh end), R + 1, false))
  for g, group in ipairs(groups) do
    group.prefill_state_indices = vector("int32", padded(of(rows, writes(g)), R + 1, pad))
    group.prefill_read_state_indices = vector("int32", padded(of(rows, reads(g)), R + 1, pad))
  end
  for i, row in ipairs(rows) do
    for chunk = 0, math.ceil(row.q / 64) - 1 do pairs_[#pairs_ + 1] = { i - 1, chunk } end
    offsets[i + 1] = #pairs_
  end
  out.chunk_indices = matrix("int32", padded(pairs_, math.ceil(T / 64) + R, { R, 0 }), 2)
  out.chunk_offsets = vector("int64", padded(offsets, R + 2, #pairs_))
end

-- Tiles of all non-spec rows, decodes too.
local function add_tiles(out, rows, R, T)
  local total, nums, rows_, tiles = math.ceil(T / 8) + R, {}, {}, {}
  for i = 1, R + 1 do
    nums[i] = rows[i] and math.ceil(rows[i].q / 8) or 0
    for tile = 0, nums[i] - 1 do rows_[#rows_ + 1], tiles[#tiles + 1] = i - 1, tile end
  end
  local length = 2 * math.max(1024, total)
  out.num_tiles = total
  out.batch_ptr = { dtype = "int32", shape = { length }, data = rows_, fill = -1 }
  out.token_chunk_offset_ptr = { dtype = "int32", shape = { length }, data = tiles, fill = -1 }
  out.nums_dict = { ["8"] = {
    nums = vector("int32", nums), tot = total, mlist_len = total,
    mlist = { dtype = "int64", shape = { total }, data = rows_, fill = -1 },
    offsetlist = { dtype = "int32", shape = { total }, data = tiles, fill = -1 },
    batch_ptr = "same object as batch_ptr", token_chunk_offset_ptr = "same object as token_chunk_offset_ptr",
  } }
end

-- The rows of a batch, or none where a bucket is captured.
local function rows_of(config, inputs)
  if not inputs.capture then return legal.rows(config, inputs) end
  if inputs.num_reqs > config.max_rows then return nil, "more rows than the builder takes" end
  if inputs.num_actual_tokens > config.max_num_batched_tokens then return nil, "more tokens" end
  return {}
end

--- The record of a build, and the state fields of each group; or nil and a reason.
function M.build(config, inputs)
  local rows, reason = rows_of(config, inputs)
  if not rows then return nil, reason end
  local S, R, T = config.num_speculative_tokens or 0, inputs.num_reqs, inputs.num_actual_tokens
  local pad, groups = config.pad_slot_id or 0, {}
  for g = 1, config.num_groups or 1 do groups[g] = {} end
  local spec, plain, decodes, prefills, classes = classify(rows, S)
  local out = {
    num_prefills = #prefills, num_prefill_tokens = tokens_of(prefills),
    num_decodes = #decodes, num_decode_tokens = tokens_of(decodes),
    num_spec_decodes = #spec, num_spec_decode_tokens = tokens_of(spec),
    num_actual_tokens = T, num_rows = R, token_class = vector("uint8", padded(classes, T, 0)),
  }
  out.live_counts = vector("int32", { out.num_prefills, out.num_prefill_tokens, out.num_decodes,
    out.num_decode_tokens, out.num_spec_decodes, out.num_spec_decode_tokens, T, #rows })
  if S > 0 then
    add_spec(out, groups, config, spec, R, T, S, pad)
    out.non_spec_token_indx = vector("int64", padded(plain.at, T, T))
  end
  add_plain(out, groups, config, plain, R, pad)
  add_decodes(out, groups, config, decodes, R, pad)
  add_prefills(out, groups, config, prefills, out.num_decode_tokens, R, T, pad)
  add_tiles(out, plain, R, T)
  checkpoints.add_asked(out, groups, config, prefills, R + 1)
  return out, groups
end

return M
