/* The one table of a configuration's numbers: their ranges, and what gdn_config_init sets. gdnmeta.h says what each
 * means; size and num_slots, which are no numbers with a range, are config.c's.
 *
 * X(name, lowest, highest, default, rules, kind)
 *
 * rules: EVERY; or those where it may be other than 0: LATEST vllm-2026-11, STRICT strict, NEWER both.
 * kind, for bindings, which read this as lua/gdnmeta/native/schema.lua:
 *   NUMBER  a number                  OR_NONE  a number from 1 on; 0 says that none was given
 *   FLAG    0 or 1                    CODE     one of the names of an enum
 *   GRAPH   GDN_GRAPH_*: false, true or "mixed"
 *   DEVICE  a place, see gdnmeta.h */
#ifndef GDN_CONFIG_FIELDS_H
#define GDN_CONFIG_FIELDS_H

#include "base/limits.h"
#include "gdnmeta.h"

#define GDN_CONFIG_FIELDS(X)                                                                   \
    X(rules, GDN_RULES_STRICT, GDN_RULES_VLLM_2026_11, GDN_RULES_STRICT, EVERY, CODE)          \
    X(device, GDN_DEVICE_AUTO, 1023, GDN_DEVICE_CPU, EVERY, DEVICE)                            \
    X(max_num_seqs, 1, GDN_MAX_ROWS, 256, EVERY, NUMBER)                                       \
    X(max_num_batched_tokens, 1, INT32_MAX, 8192, EVERY, NUMBER)                               \
    X(max_rows, 0, GDN_MAX_ROWS, 0, EVERY, OR_NONE)                                            \
    X(num_speculative_tokens, 0, GDN_MAX_SPEC, 0, EVERY, NUMBER)                               \
    X(full_cuda_graph, GDN_GRAPH_NONE, GDN_GRAPH_MIXED, GDN_GRAPH_NONE, EVERY, GRAPH)           \
    X(max_cudagraph_capture_size, 0, INT32_MAX, 0, EVERY, OR_NONE)                             \
    X(mamba_cache_mode, GDN_CACHE_NONE, GDN_CACHE_ALL, GDN_CACHE_NONE, EVERY, CODE)            \
    X(mamba_block_size, 1, INT32_MAX, 544, EVERY, NUMBER)                                      \
    X(num_speculative_blocks, 0, INT32_MAX - 1, 0, EVERY, NUMBER)                              \
    X(num_groups, 1, GDN_MAX_GROUPS, 1, EVERY, NUMBER)                                         \
    X(max_requests, 0, INT32_MAX, 0, EVERY, OR_NONE)                                           \
    X(max_blocks_per_row, 0, INT32_MAX, 0, EVERY, OR_NONE)                                     \
    X(parallel_drafting, 0, 1, 0, EVERY, FLAG)                                                 \
    X(decode_context_parallel_size, 0, INT32_MAX, 1, EVERY, OR_NONE)                           \
    X(check_unique, 0, 1, 1, EVERY, FLAG)                                                      \
    X(pad_slot_id, -1, 0, 0, EVERY, NUMBER)                                                    \
    X(query_start_loc_dtype, GDN_INT32, GDN_INT64, GDN_INT32, EVERY, CODE)                     \
    X(check, 0, 1, 0, EVERY, FLAG)                                                             \
    X(poison, 0, 1, 0, EVERY, FLAG)                                                            \
    X(gdn_prefill_backend, GDN_PREFILL_TRITON, GDN_PREFILL_FLASHINFER, 0, NEWER, CODE)         \
    X(num_prefill_checkpoint_blocks, 0, INT32_MAX, 0, LATEST, NUMBER)                          \
    X(prefill_checkpoint_alignment, 0, INT32_MAX, 0, LATEST, OR_NONE)                          \
    X(hash_block_size, 0, INT32_MAX, 0, LATEST, OR_NONE)                                       \
    X(cache_hit_alignment_tokens, 0, INT32_MAX, 0, LATEST, OR_NONE)                            \
    X(num_hash_lookahead_tokens, 0, INT32_MAX, 0, LATEST, NUMBER)                              \
    X(drop_eagle_block, 0, 1, 0, LATEST, FLAG)                                                 \
    X(checkpoint_any, 0, 1, 0, STRICT, FLAG)

#endif
