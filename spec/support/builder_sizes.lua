-- Options of builders whose memory differs: each with what makes it larger or smaller.
return {
  {}, { rules = "vllm-2026-04" }, { rules = "vllm-2026-08", num_speculative_tokens = 5 },
  { num_speculative_tokens = 3, num_groups = 3, full_cuda_graph = true, max_cudagraph_capture_size = 100 },
  { mamba_cache_mode = "align", mamba_block_size = 16, max_blocks_per_row = 300, num_groups = 2 },
  { num_groups = 64, num_speculative_tokens = 64, max_num_seqs = 7, max_requests = 9 },
  { max_num_seqs = 65536, max_num_batched_tokens = 100000 }, { check_unique = false },
  { max_num_seqs = 1, max_num_batched_tokens = 1, max_rows = 1, num_slots = 1 },
  { num_slots = { 9, 100000 }, num_groups = 2 }, { query_start_loc_dtype = "int64" },
  { check = true, num_groups = 2, num_slots = { 9, 500 } }, { check = true, check_unique = false },
  { poison = true },
}
