-- What may go wrong in a step's tensors: for every tensor the elements that a layer depends on, and those
-- that it never looks at, with the reason. An entry is { tensor, elements of a step s, what an element
-- becomes }. s: { meta, spec, plain, prefills: rows of the halves as state_kernel.lua has them,
-- last_column(row), slots, tokens, num_spec }.
local M = {}

-- Elements first .. last, those that `keep` keeps.
local function range(first, last, keep)
  local list = {}
  for i = first, last do
    if not keep or keep(i) then list[#list + 1] = i end
  end
  return list
end

-- Tokens of a row that count: drafts that turn out wrong do not.
local function counted(row) return row.drafts >= 0 and row.accepted + 1 or row.n end

-- Ends of rows whose last token counts, and is then given to the next row.
local function ends(half)
  return range(1, #half, function(n) return counted(half[n]) == half[n].n end)
end

-- Places in a half of the tokens that count.
local function tokens(half)
  local list, at = {}, 0
  for _, row in ipairs(half) do
    for k = 0, counted(row) - 1 do list[#list + 1] = at + k end
    at = at + row.n
  end
  return list
end

local function all(half) return range(0, #half - 1) end
local function resumed(half) return range(0, #half - 1, function(i) return half[i + 1].computed > 0 end) end
local function fresh(half) return range(0, #half - 1, function(i) return half[i + 1].computed == 0 end) end
local function padding(half, tensor) return range(#half, #tensor - 1) end

local function tiles(plain)
  local n = 0
  for _, row in ipairs(plain) do n = n + math.ceil(row.n / 8) end
  return n
end

-- Columns of speculative rows: those that the next step reads, or those of rejected drafts.
local function columns(s, is_read)
  local list = {}
  for n, row in ipairs(s.spec) do
    for k = 0, row.n - 1 do
      if (k == s.last_column(row)) == is_read and (is_read or k > s.last_column(row)) then
        list[#list + 1] = (n - 1) * (s.num_spec + 1) + k
      end
    end
  end
  return list
end

local function one_less(v) return v - 1 end
local function one_more(v) return v + 1 end
local function flipped(v) return not v end
local function null() return 0 end
local function no_program() return -1 end
local function other_slot(v, s) return v % (s.slots - 1) + 1 end
local function other_token(v, s) return (v + 1) % s.tokens end
local function other_shift(v) return v == 0 and 1 or v - 1 end
local function other_count(v, s) return v % (s.num_spec + 1) + 1 end
local function slot_of_row_0(_, s) return s.meta.non_spec_state_indices_tensor[0] end

local function is_for_graph(s) return s.meta.num_prefills == 0 end
local function spec_of(s) return s.spec end
local function plain_of(s) return s.plain end
local function prefills_of(s) return s.prefills end
local function over(half, which) return function(s) return which(half(s), s) end end

--- The layer must show these.
M.SEEN = {
  { "spec_query_start_loc", over(spec_of, ends), one_less },
  { "spec_state_indices_tensor", function(s) return columns(s, true) end, null },
  { "spec_sequence_masks", over(spec_of, function(_, s)
    return range(0, #s.meta.spec_sequence_masks - 1, function(i) return s.meta.spec_sequence_masks[i] end)
  end), flipped },
  { "spec_token_indx", over(spec_of, tokens), other_token },
  { "spec_read_state_indices", over(spec_of, all), other_slot },
  { "spec_conv_shift", over(spec_of, all), other_shift },
  { "non_spec_query_start_loc", over(plain_of, ends), one_less },
  { "non_spec_state_indices_tensor", over(plain_of, all), null },
  { "non_spec_state_indices_tensor", function(s)
    return is_for_graph(s) and padding(s.plain, s.meta.non_spec_state_indices_tensor) or {}
  end, slot_of_row_0 },
  { "non_spec_token_indx", over(plain_of, tokens), other_token },
  { "non_spec_read_state_indices", over(plain_of, resumed), other_slot },
  { "non_spec_conv_shift", over(plain_of, resumed), other_shift },
  { "has_initial_state", over(plain_of, all), flipped },
  { "chunk_indices", function(s) return range(0, #s.meta.chunk_indices - 1) end, one_more },
  { "chunk_offsets", function(s) return range(0, #s.prefills) end, one_more },
  { "batch_ptr", function(s) return range(0, tiles(s.plain) - 1) end, one_more },
  { "batch_ptr", function(s) return range(0, tiles(s.plain) - 1) end, no_program },
  { "token_chunk_offset_ptr", function(s) return range(0, tiles(s.plain) - 1) end, one_more },
  { "prefill_query_start_loc", over(prefills_of, ends), one_less },
  { "prefill_state_indices", over(prefills_of, all), null },
  { "prefill_has_initial_state", over(prefills_of, all), flipped },
  { "prefill_read_state_indices", over(prefills_of, resumed), other_slot },
}

--- Under upstream's rules a row is also read where it is written, and accepted counts say which column. The
--- chunk kernels of vllm-2026-04 run all non-speculative rows, and leave the prefills' tensors alone.
M.SEEN_UPSTREAM = {
  { "num_accepted_tokens", over(spec_of, all), other_count },
  { "spec_state_indices_tensor", function(s) return columns(s, true) end, null },
  { "non_spec_state_indices_tensor", over(plain_of, all), null },
  { "has_initial_state", over(plain_of, resumed), flipped },
  { "prefill_state_indices", over(prefills_of, all), null, rules = "vllm-2026-08" },
}

local function spec_padding(s, tensor)
  return is_for_graph(s) and range(#s.spec, #s.meta[tensor] - 1) or {}
end

--- These change nothing, and why.
M.UNSEEN = {
  { "num_accepted_tokens", over(spec_of, all), other_count,
    why = "read indices and conv shifts say it already" },
  { "spec_state_indices_tensor", function(s) return columns(s, false) end, null,
    why = "states of rejected drafts are overwritten before anybody reads them" },
  { "spec_sequence_masks", function(s) return spec_padding(s, "spec_sequence_masks") end, flipped,
    why = "a row of padding has no tokens" },
  { "spec_read_state_indices", function(s) return spec_padding(s, "spec_read_state_indices") end, other_slot,
    why = "the mask leaves out rows of padding" },
  { "spec_query_start_loc", function(s)
    return is_for_graph(s) and range(#s.spec + 1, #s.meta.spec_query_start_loc - 1) or {}
  end, one_more, why = "the mask leaves out rows of padding" },
  { "non_spec_query_start_loc", function(s)
    local last = #s.meta.non_spec_query_start_loc - 1
    return last > #s.plain and { last } or {}
  end, one_more, why = "a token of padding is computed for the null slot" },
  { "non_spec_read_state_indices", function(s) return s.meta.has_initial_state and fresh(s.plain) or {} end,
    other_slot, why = "has_initial_state keeps a fresh row from reading" },
  { "non_spec_conv_shift", function(s) return s.meta.has_initial_state and fresh(s.plain) or {} end,
    other_shift, why = "has_initial_state keeps a fresh row from reading" },
  { "prefill_read_state_indices", over(prefills_of, fresh), other_slot,
    why = "prefill_has_initial_state keeps a fresh row from reading" },
  { "batch_ptr", function(s) return range(tiles(s.plain) + 1, #s.meta.batch_ptr - 1) end, null,
    why = "after the first -1 there are no programs" },
  { "token_chunk_offset_ptr", function(s) return range(tiles(s.plain), #s.meta.batch_ptr - 1) end, one_more,
    why = "after the first -1 there are no programs" },
}

local function decodes_of(s) return { unpack(s.plain, 1, #s.plain - #s.prefills) } end
local function padded(half, more)
  return function(s, tensor) return range(#half(s) + (more or 0), #s.meta[tensor] - 1) end
end

-- Inner boundaries of padding: the last one has no row behind it.
local function padded_ends(half)
  return function(s, tensor) return range(#half(s) + 1, #s.meta[tensor] - 2) end
end

local function first_of(list) return function(_, s) return s.meta[list][0] end end
local function listed(list)
  return function(s, tensor)
    local count = 0
    for _, row in ipairs(list(s)) do count = count + row.n end
    return count > 0 and range(count, #s.meta[tensor] - 1) or {}
  end
end

local function real_chunks(s)
  local n = 0
  for _, row in ipairs(s.prefills) do n = n + math.ceil(row.n / 64) end
  return range(0, 2 * n - 1)
end

local function real_tokens(half)
  return function(s)
    local list, places = s.meta.non_spec_token_indx, tokens(half(s))
    for n, at in ipairs(places) do places[n] = list and list[at] or at end
    return places
  end
end

--- A bucket: the layer runs over whole arrays, so that padding counts, too.
M.SEEN_BUCKET = {
  { "spec_query_start_loc", over(spec_of, ends), one_less },
  { "spec_query_start_loc", padded_ends(spec_of), one_more },
  { "spec_state_indices_tensor", function(s) return columns(s, true) end, null },
  { "spec_token_indx", over(spec_of, tokens), other_token },
  { "spec_token_indx", listed(spec_of), first_of "spec_token_indx" },
  { "spec_read_state_indices", over(spec_of, all), other_slot },
  { "spec_conv_shift", over(spec_of, all), other_shift },
  { "non_spec_query_start_loc", over(plain_of, ends), one_less },
  { "non_spec_state_indices_tensor", over(plain_of, all), null },
  { "non_spec_token_indx", over(plain_of, tokens), other_token },
  { "non_spec_token_indx", listed(plain_of), first_of "non_spec_token_indx" },
  { "non_spec_read_state_indices", over(plain_of, resumed), other_slot },
  { "non_spec_conv_shift", over(plain_of, resumed), other_shift },
  { "has_initial_state", over(plain_of, all), flipped },
  { "decode_query_start_loc", over(decodes_of, ends), one_less },
  { "decode_query_start_loc", padded_ends(decodes_of), one_more },
  { "decode_state_indices", over(decodes_of, all), null },
  { "decode_state_indices", function(s, tensor)
    return #decodes_of(s) > 0 and padded(decodes_of)(s, tensor) or {}
  end, first_of "decode_state_indices" },
  { "decode_read_state_indices", over(decodes_of, all), other_slot },
  { "prefill_query_start_loc", over(prefills_of, ends), one_less },
  { "prefill_query_start_loc", padded_ends(prefills_of), one_more },
  { "prefill_state_indices", over(prefills_of, all), null },
  { "prefill_state_indices", function(s, tensor)
    return #s.prefills > 0 and padded(prefills_of)(s, tensor) or {}
  end, first_of "prefill_state_indices" },
  { "prefill_has_initial_state", over(prefills_of, all), flipped },
  { "prefill_read_state_indices", over(prefills_of, resumed), other_slot },
  { "chunk_indices", real_chunks, one_more },
  { "chunk_offsets", over(prefills_of, all), one_more },
  { "batch_ptr", function(s) return range(0, tiles(s.plain) - 1) end, no_program },
  { "batch_ptr", function(s)
    return range(tiles(s.plain), math.ceil(#s.meta.token_class / 8) + #s.meta.decode_state_indices - 1)
  end, null },
  { "token_chunk_offset_ptr", function(s) return range(0, tiles(s.plain) - 1) end, one_more },
  { "token_class", real_tokens(plain_of), function(v) return v == 2 and 3 or 2 end },
  { "token_class", real_tokens(plain_of), null },
}

local function offset_at(s, i) return s.meta.checkpoint_offsets[i] end

-- Prefills that keep a state before their end, those of an offset that `which` wants; the others.
local function kept(which)
  return function(s)
    return range(0, #s.prefills - 1, function(i) return offset_at(s, i) > 0 and which(offset_at(s, i)) end)
  end
end

local function not_kept(s, tensor)
  return range(0, #s.meta[tensor] - 1, function(i) return offset_at(s, i) == 0 end)
end

local function any() return true end
local function on_grid(offset) return offset % 64 == 0 end
local function off_grid(offset) return offset % 64 ~= 0 end

--- States that prefills keep before their end, which other requests then begin with. Of buckets, too.
M.SEEN_KEPT = {
  { "checkpoint_offsets", kept(any), one_less },
  { "checkpoint_offsets", kept(any), null },
  { "checkpoint_state_indices", kept(any), null },
  { "checkpoint_state_indices", kept(any), other_slot },
  { "checkpoint_chunk", kept(on_grid), one_more },
  { "checkpoint_chunk", kept(off_grid), null },
}

M.UNSEEN_KEPT = {
  { "checkpoint_offsets", not_kept, function() return 1 end, why = "its slot is the null slot" },
  { "checkpoint_state_indices", not_kept, slot_of_row_0, why = "a row without a checkpoint writes none" },
  { "checkpoint_chunk", not_kept, null, why = "its slot is the null slot" },
  { "checkpoint_chunk", kept(on_grid), no_program, why = "the layer then computes up to the token itself" },
}

for _, list in ipairs { M.SEEN_KEPT, M.UNSEEN_KEPT } do
  for _, entry in ipairs(list) do entry.keeps = true end
end

local EMPTY = "a row of padding has no tokens"

--- These change nothing in a bucket, and why.
M.UNSEEN_BUCKET = {
  { "num_accepted_tokens", over(spec_of, all), other_count,
    why = "read indices and conv shifts say it already" },
  { "spec_state_indices_tensor", function(s, tensor)
    return range((s.num_spec + 1) * #s.spec, #s.meta[tensor] - 1)
  end, slot_of_row_0, why = EMPTY },
  { "spec_read_state_indices", padded(spec_of), other_slot, why = EMPTY },
  { "non_spec_state_indices_tensor", padded(plain_of), slot_of_row_0, why = EMPTY },
  { "has_initial_state", padded(plain_of), flipped, why = EMPTY },
  { "decode_read_state_indices", padded(decodes_of), other_slot,
    why = "what it reads goes to the null slot" },
  { "prefill_read_state_indices", padded(prefills_of), other_slot,
    why = "prefill_has_initial_state keeps it from reading" },
  { "chunk_offsets", padded(prefills_of, 2), one_more, why = "what it reads goes to the null slot" },
  { "token_chunk_offset_ptr", function(s) return range(tiles(s.plain), #s.meta.batch_ptr - 1) end, one_more,
    why = "batch_ptr is -1 there" },
  { "token_class", function(s) return range(s.tokens, #s.meta.token_class - 1) end, function() return 2 end,
    why = "outputs of padding are of no interest" },
  { "live_counts", function() return range(0, 7) end, one_more,
    why = "it is for hosts, and the layer does not read it" },
}

return M
