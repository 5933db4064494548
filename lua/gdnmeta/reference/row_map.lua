-- The rows of a step, from its metadata: which tokens belong to which row, and where each row's past is. Only
-- here does the reference layer depend on the rule set.
local M = {}

--- Stops where an element of an index tensor leads out of its domain: a kernel would follow it.
function M.check(value, most, name, i)
  if value < 0 or value > most then
    if i then name = ("%s[%d]"):format(name, i) end
    error(("gdnmeta.reference: %s = %d, want 0 .. %d"):format(name, value, most), 0)
  end
  return value
end

local function element(view, i, most, name) return M.check(view[i], most, name, i) end

-- Positions in the batch of a half's tokens: every input and output of a token is found through them.
local function positions(into, view, name, num_tokens)
  M.check(#view, num_tokens, "#" .. name)
  for n = 0, #view - 1 do into[n] = element(view, n, num_tokens - 1, name) end
  return #view
end

--- Speculative rows: { at, count, start, rows }. Those that the mask names count, padding does not.
function M.spec(meta, at)
  local masks, rows = meta.spec_sequence_masks, 0
  for row = 0, #masks - 1 do rows = rows + (masks[row] and 1 or 0) end
  return { at = at, count = positions(at, meta.spec_token_indx, "spec_token_indx", meta.num_actual_tokens),
           start = meta.spec_query_start_loc, name = "spec_query_start_loc", rows = rows }
end

--- All other rows, padding included; nil where there are none.
function M.non_spec(meta, at)
  local slots, num_tokens = meta.non_spec_state_indices_tensor, meta.num_actual_tokens
  if not slots then return nil end
  local half = { at = at, count = num_tokens, start = meta.non_spec_query_start_loc,
                 name = "non_spec_query_start_loc", rows = #slots }
  if meta.num_spec_decodes > 0 then
    half.count = positions(at, meta.non_spec_token_indx, "non_spec_token_indx", num_tokens)
  else
    for n = 0, num_tokens - 1 do at[n] = n end
  end
  return half
end

--- First token of a half's row, and the one after its last.
function M.bounds(half, row)
  local last = element(half.start, row + 1, half.count, half.name)
  return element(half.start, row, last, half.name), last
end

--- Where speculative row s finds its past: the slot of its window, tokens to step into that, the slot of
--- its state. Upstream keeps the window in column 0 alone and the state in the column of the last token
--- accepted.
function M.spec_past(meta, s)
  local read = meta.spec_read_state_indices
  if read then return read[s], meta.spec_conv_shift[s], read[s] end
  local slots, accepted = meta.spec_state_indices_tensor, meta.num_accepted_tokens[s]
  return slots:at(s, 0), accepted - 1, slots:at(s, accepted - 1)
end

--- The same of any other row: slot of both, tokens to step into the window. Upstream reads column 0,
--- whatever an earlier step accepted.
function M.past(meta, row)
  local read = meta.non_spec_read_state_indices
  if read then return read[row], meta.non_spec_conv_shift[row] end
  return meta.non_spec_state_indices_tensor[row], 0
end

--- The rows that the chunk tables number, with tensors of their own: the prefills after `decodes` rows, or
--- (vllm-2026-04) all rows, its decodes included.
function M.chunked(meta, half)
  local own = meta.prefill_query_start_loc
  if #meta.chunk_offsets ~= #own then
    local slots = meta.non_spec_state_indices_tensor
    return 0, { at = half.at, count = half.count, start = half.start, name = half.name, rows = half.rows,
                base = 0, read = slots, write = slots, has_initial_state = meta.has_initial_state }
  end
  local write, base = meta.prefill_state_indices, meta.num_decode_tokens
  return meta.num_decodes, {
    at = half.at, count = half.count - base, start = own, name = "prefill_query_start_loc", rows = #write,
    base = base, read = meta.prefill_read_state_indices or write, write = write,
    has_initial_state = meta.prefill_has_initial_state,
  }
end

return M
