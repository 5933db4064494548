/* The one table of outputs: the arena's layout, the views of a group, the bindings (lua/gdnmeta/native/schema.lua) and
 * the tests walk it.
 *
 * X(name, widest element, capacity, per group)
 *
 * capacity, with ROWS = row_capacity, S = num_speculative_tokens:
 *   ROWS, BOUNDS = ROWS + 1, STATES = ROWS * (S + 1), TOKENS, CHUNKS = pairs, TILES,
 *   BUCKET_ROWS, BUCKET_BOUNDS, BUCKET_TOKENS: ROWS, BOUNDS and TOKENS in buckets, else 0; LIVE = 8 there,
 *   KEPT, KEPT_BOUNDS: ROWS and BOUNDS where prefills may have checkpoints, else 0; ASKED: ROWS under strict, else 0
 * BOUND is query_start_loc_dtype.
 * The token lists hold int32 in a purely speculative step. Shapes and meanings stand in gdnmeta.h. */
#ifndef GDN_FIELDS_H
#define GDN_FIELDS_H

#include "gdnmeta.h"

#define GDN_FIELDS(X)                                             \
    X(spec_query_start_loc, BOUND, BOUNDS, 0)                     \
    X(non_spec_query_start_loc, BOUND, BOUNDS, 0)                 \
    X(spec_state_indices_tensor, GDN_INT32, STATES, 1)            \
    X(non_spec_state_indices_tensor, GDN_INT32, ROWS, 1)          \
    X(spec_sequence_masks, GDN_BOOL, ROWS, 0)                     \
    X(spec_token_indx, GDN_INT64, TOKENS, 0)                      \
    X(non_spec_token_indx, GDN_INT64, TOKENS, 0)                  \
    X(num_accepted_tokens, GDN_INT32, ROWS, 0)                    \
    X(has_initial_state, GDN_BOOL, ROWS, 0)                       \
    X(chunk_indices, GDN_INT32, CHUNKS, 0)                        \
    X(chunk_offsets, GDN_INT64, BOUNDS, 0)                        \
    X(batch_ptr, GDN_INT32, TILES, 0)                             \
    X(token_chunk_offset_ptr, GDN_INT32, TILES, 0)                \
    X(prefill_query_start_loc, BOUND, BOUNDS, 0)                  \
    X(prefill_state_indices, GDN_INT32, ROWS, 1)                  \
    X(prefill_has_initial_state, GDN_BOOL, ROWS, 0)               \
    X(spec_read_state_indices, GDN_INT32, ROWS, 1)                \
    X(non_spec_read_state_indices, GDN_INT32, ROWS, 1)            \
    X(prefill_read_state_indices, GDN_INT32, ROWS, 1)             \
    X(spec_conv_shift, GDN_INT32, ROWS, 0)                        \
    X(non_spec_conv_shift, GDN_INT32, ROWS, 0)                    \
    X(checkpoint_offsets, GDN_INT32, KEPT, 0)                     \
    X(checkpoint_state_indices, GDN_INT32, KEPT, 1)               \
    X(checkpoint_chunk, GDN_INT32, ASKED, 0)                      \
    X(checkpoint_cu_starts, GDN_INT64, KEPT_BOUNDS, 0)            \
    X(checkpoint_rows, GDN_INT64, KEPT, 0)                        \
    X(decode_query_start_loc, BOUND, BUCKET_BOUNDS, 0)            \
    X(decode_state_indices, GDN_INT32, BUCKET_ROWS, 1)            \
    X(decode_read_state_indices, GDN_INT32, BUCKET_ROWS, 1)       \
    X(token_class, GDN_UINT8, BUCKET_TOKENS, 0)                   \
    X(live_counts, GDN_INT32, LIVE, 0)

/* The numbers of gdn_metadata in front of them, but its step. */
#define GDN_COUNTS(X)               \
    X(num_prefills)                 \
    X(num_prefill_tokens)           \
    X(num_decodes)                  \
    X(num_decode_tokens)            \
    X(num_spec_decodes)             \
    X(num_spec_decode_tokens)       \
    X(num_actual_tokens)            \
    X(num_rows)                     \
    X(num_tiles)                    \
    X(uniform_spec_sequence_length) \
    X(checkpoint_every_n_tokens)    \
    X(num_checkpoints)

typedef enum gdn_field {
#define X(name, type, capacity, per_group) GDN_FIELD_##name,
    GDN_FIELDS(X)
#undef X
    GDN_NUM_FIELDS
} gdn_field;

/* Where kernels expect their tables' grain: tokens a chunk of the delta rule, tokens a conv1d tile. */
enum { GDN_CHUNK = 64, GDN_TILE = 8, GDN_MIN_TILES = 1024 };

enum { GDN_LIVE_COUNTS = 8 }; /* of live_counts */

#endif
