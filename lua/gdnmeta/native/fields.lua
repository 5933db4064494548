-- The fields of gdn_metadata in its order, for code that walks all of them.
local M = {}

M.counts = { "num_prefills", "num_prefill_tokens", "num_decodes", "num_decode_tokens", "num_spec_decodes",
             "num_spec_decode_tokens", "num_actual_tokens", "num_rows", "num_tiles",
             "uniform_spec_sequence_length", "checkpoint_every_n_tokens", "num_checkpoints" }

M.tensors = {
  "spec_query_start_loc", "non_spec_query_start_loc", "spec_state_indices_tensor",
  "non_spec_state_indices_tensor", "spec_sequence_masks", "spec_token_indx", "non_spec_token_indx",
  "num_accepted_tokens", "has_initial_state", "chunk_indices", "chunk_offsets", "batch_ptr",
  "token_chunk_offset_ptr", "prefill_query_start_loc", "prefill_state_indices", "prefill_has_initial_state",
  "spec_read_state_indices", "non_spec_read_state_indices", "prefill_read_state_indices", "spec_conv_shift",
  "non_spec_conv_shift", "checkpoint_offsets", "checkpoint_state_indices", "checkpoint_cu_starts",
  "checkpoint_rows",
}

-- Those that exist once a cache group.
M.per_group = {}
for _, name in ipairs(M.tensors) do M.per_group[name] = name:find "state_indices" ~= nil end

return M
