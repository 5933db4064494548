-- Rules strict, second half: what a legal batch becomes. Real rows only; padding exists where a step is
-- for a graph. The states are read at *_read_state_indices and written at the ordinary indices.
local parts = require "spec.support.oracle_parts"
local checkpoints = require "spec.support.oracle_checkpoints"
local legal = require "spec.support.oracle_legal"

local vector, matrix = parts.vector, parts.matrix

local M = {}

local function collect(rows, take, from)
  local out = {}
  for i = from or 1, #rows do out[#out + 1] = take(rows[i]) end
  return out
end

local function lengths(rows) return collect(rows, function(row) return row.q end) end
local function initial(rows) return collect(rows, function(row) return not row.fresh end) end
local function shifts(rows) return collect(rows, function(row) return row.shift end) end
local function reads(rows, g, from) return collect(rows, function(row) return row.read[g] end, from) end
local function writes(rows, g, from) return collect(rows, function(row) return row.window[g][1] end, from) end

--- Fields of the rows that are not speculative, padded to b rows. Rows after `decodes` are prefills.
local function add_non_spec(out, groups, rows, b, decodes, config)
  local starts = parts.boundaries(lengths(rows))
  out.non_spec_query_start_loc = vector("int32", parts.padded(starts, b + 1, starts[#starts]))
  out.non_spec_conv_shift = vector("int32", parts.padded(shifts(rows), b, 0))
  for g, group in ipairs(groups) do
    group.non_spec_state_indices_tensor = vector("int32", parts.padded(writes(rows, g), b, 0))
    group.non_spec_read_state_indices = vector("int32", parts.padded(reads(rows, g), b, 0))
    if decodes < #rows then
      group.prefill_state_indices = vector("int32", writes(rows, g, decodes + 1))
      group.prefill_read_state_indices = vector("int32", reads(rows, g, decodes + 1))
    end
  end
  if decodes == #rows then return end
  parts.add_prefill_fields(out, lengths(rows), initial(rows), decodes)
  if config.gdn_prefill_backend == "flashinfer" then out.chunk_indices, out.chunk_offsets = nil, nil end
  checkpoints.add_asked(out, groups, config, collect(rows, function(row) return row end, decodes + 1))
end

local function non_spec(out, groups, rows, step)
  local decodes = #rows
  for i, row in ipairs(rows) do
    if row.q > 1 or row.fresh then
      decodes = i - 1
      break
    end
  end
  local starts = parts.boundaries(lengths(rows))
  out.num_decodes, out.num_decode_tokens = decodes, starts[decodes + 1]
  out.num_prefills, out.num_prefill_tokens = #rows - decodes, starts[#rows + 1] - starts[decodes + 1]
  out.num_spec_decodes, out.num_spec_decode_tokens = 0, 0
  local for_graph = step.full_cg and decodes == #rows and step.padded_rows <= step.cap
  add_non_spec(out, groups, rows, for_graph and step.padded_rows or #rows, decodes, step.config)
end

--- Fields of the speculative rows, padded to b rows.
local function add_spec(out, groups, rows, b, S)
  local starts = parts.boundaries(lengths(rows))
  out.spec_query_start_loc = vector("int32", parts.padded(starts, b + 1, starts[#starts]))
  out.spec_conv_shift = vector("int32", parts.padded(shifts(rows), b, 0))
  local accepted = collect(rows, function(row) return row.accepted end)
  out.num_accepted_tokens = vector("int32", parts.padded(accepted, b, 1))
  local null = {}
  for k = 1, S + 1 do null[k] = 0 end
  for g, group in ipairs(groups) do
    local slots = collect(rows, function(row) return parts.first(row.window[g], S + 1) end)
    group.spec_state_indices_tensor = matrix("int32", parts.padded(slots, b, null), S + 1)
    group.spec_read_state_indices = vector("int32", parts.padded(reads(rows, g), b, 0))
  end
end

local function spec(out, groups, rows, step)
  local spec_rows, plain_rows, spec_at, plain_at, masks, t = {}, {}, {}, {}, {}, 0
  for i, row in ipairs(rows) do
    masks[i] = row.drafts >= 0
    local members = masks[i] and spec_rows or plain_rows
    local at = masks[i] and spec_at or plain_at
    members[#members + 1] = row
    for _ = 1, row.q do
      at[#at + 1] = t
      t = t + 1
    end
  end
  out.num_prefills, out.num_prefill_tokens = #plain_rows, #plain_at
  out.num_decodes, out.num_decode_tokens = 0, 0
  out.num_spec_decodes, out.num_spec_decode_tokens = #spec_rows, #spec_at
  out.uniform_spec_sequence_length = parts.common(lengths(spec_rows))
  local pure = #plain_rows == 0
  local for_graph = pure and step.full_cg and step.padded_rows <= step.cap and #spec_at <= step.cap
  local index = pure and "int32" or "int64"
  out.spec_token_indx, out.non_spec_token_indx = vector(index, spec_at), vector(index, plain_at)
  local masked, listed = for_graph and step.padded_rows or #rows, for_graph and step.padded_rows or #spec_rows
  out.spec_sequence_masks = vector("bool", parts.padded(masks, masked, false))
  add_spec(out, groups, spec_rows, listed, step.S)
  if not pure then add_non_spec(out, groups, plain_rows, #plain_rows, 0, step.config) end
end

--- The record of a build, and the state fields of each group; or nil and a reason.
function M.build(config, inputs)
  local rows, spec_step = (inputs.capture and legal.capture_rows or legal.rows)(config, inputs)
  if not rows then return nil, spec_step end
  local derived = parts.derive(config)
  local step = { S = derived.num_spec, cap = derived.decode_cudagraph_max_bs,
    full_cg = config.full_cuda_graph, padded_rows = inputs.num_reqs, config = config }
  local out, groups = { num_actual_tokens = inputs.num_actual_tokens, num_rows = inputs.num_reqs,
    num_tiles = 0 }, {}
  for g = 1, config.num_groups or 1 do groups[g] = {} end;
  (spec_step and spec or non_spec)(out, groups, rows, step)
  return out, groups
end

return M
