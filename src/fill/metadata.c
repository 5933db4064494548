/* The step's scalars and tensor views; the same on every device. */
#include "fill/metadata.h"

#include "fill/bucket_shapes.h"

#include <string.h>

/* A view of a field's buffer, from its start: addresses are fixed, whatever the step. */
#define VIEW(name, type, rows, columns, dimensions)                                                          \
    (meta->name = (gdn_tensor){ .data = gdn_arena_first(arena, GDN_FIELD_##name), .shape = { (rows), (columns) }, \
                                .dtype = (type), .ndim = (dimensions) })
#define VECTOR(name, type, length) VIEW(name, type, length, 1, 1)

static void set_spec(gdn_metadata *meta, const gdn_arena *arena, const gdn_settings *settings, const gdn_partition *p)
{
    int32_t n = p->num_spec, rows = p->for_graph ? p->padded_rows : n;
    VECTOR(spec_query_start_loc, settings->config.query_start_loc_dtype, p->for_graph ? p->padded_bounds : n + 1);
    VIEW(spec_state_indices_tensor, GDN_INT32, rows, p->state_columns, 2);
    VECTOR(num_accepted_tokens, GDN_INT32, rows);
    VECTOR(spec_sequence_masks, GDN_BOOL, p->for_graph ? rows : p->rows);
    if (p->mixed) {
        VECTOR(spec_token_indx, GDN_INT64, p->listed_tokens);
        VECTOR(non_spec_token_indx, GDN_INT64, p->num_prefill_tokens);
    } else {
        VECTOR(spec_token_indx, GDN_INT32, p->listed_tokens);
        VECTOR(non_spec_token_indx, GDN_INT32, 0);
    }
    if (settings->config.rules == GDN_RULES_STRICT) {
        VECTOR(spec_read_state_indices, GDN_INT32, rows);
        VECTOR(spec_conv_shift, GDN_INT32, rows);
    }
}

static void set_non_spec(gdn_metadata *meta, const gdn_arena *arena, const gdn_settings *settings,
                         const gdn_partition *p)
{
    int32_t rows = p->for_graph ? p->padded_rows : p->num_non_spec;
    VECTOR(non_spec_query_start_loc, settings->config.query_start_loc_dtype,
           p->for_graph ? p->padded_bounds : rows + 1);
    VECTOR(non_spec_state_indices_tensor, GDN_INT32, rows);
    if (settings->config.rules == GDN_RULES_STRICT) {
        VECTOR(non_spec_read_state_indices, GDN_INT32, rows);
        VECTOR(non_spec_conv_shift, GDN_INT32, rows);
    }
}

static void set_prefills(gdn_metadata *meta, const gdn_arena *arena, const gdn_settings *settings,
                         const gdn_partition *p)
{
    int32_t n = p->num_non_spec, prefills = n - p->first_prefill;
    VECTOR(has_initial_state, GDN_BOOL, n);
    if (settings->config.gdn_prefill_backend == GDN_PREFILL_TRITON) {
        VIEW(chunk_indices, GDN_INT32, p->chunks, 2, 2);
        VECTOR(chunk_offsets, GDN_INT64, n - p->chunk_row + 1);
    }
    VECTOR(batch_ptr, GDN_INT32, p->tile_length);
    VECTOR(token_chunk_offset_ptr, GDN_INT32, p->tile_length);
    VECTOR(prefill_query_start_loc, settings->config.query_start_loc_dtype, prefills + 1);
    VECTOR(prefill_state_indices, GDN_INT32, prefills);
    VECTOR(prefill_has_initial_state, GDN_BOOL, prefills);
    if (settings->config.rules == GDN_RULES_STRICT) VECTOR(prefill_read_state_indices, GDN_INT32, prefills);
}

static void set_checkpoints(gdn_metadata *meta, const gdn_arena *arena, const gdn_settings *settings,
                            const gdn_partition *p)
{
    VECTOR(checkpoint_offsets, GDN_INT32, p->num_kept_rows);
    VECTOR(checkpoint_state_indices, GDN_INT32, p->num_kept_rows);
    if (settings->takes_checkpoints && settings->config.gdn_prefill_backend == GDN_PREFILL_TRITON)
        VECTOR(checkpoint_chunk, GDN_INT32, p->num_kept_rows);
    if (!p->checkpoint_every) return;
    VECTOR(checkpoint_cu_starts, GDN_INT64, p->num_non_spec - p->first_prefill + 1);
    VECTOR(checkpoint_rows, GDN_INT64, p->num_kept_rows);
}

/* Every tensor of a bucket is there, as long as the bucket says. */
static void set_bucket(gdn_metadata *meta, const gdn_arena *arena, const gdn_settings *settings, const gdn_partition *p)
{
    gdn_bucket_shapes(meta, settings, p->bucket_rows, p->bucket_tokens);
#define X(name, type, capacity, per_group) \
    if (meta->name.ndim) meta->name.data = gdn_arena_first(arena, GDN_FIELD_##name);
    GDN_FIELDS(X)
#undef X
}

void gdn_metadata_set(gdn_metadata *meta, const gdn_arena *arena, const gdn_settings *settings, const gdn_partition *p)
{
    int64_t step = meta->step;
    memset(meta, 0, sizeof *meta);
    if (p->has_bucket) set_bucket(meta, arena, settings, p);
    meta->step = step;
    meta->num_prefills = p->num_prefills;
    meta->num_prefill_tokens = p->num_prefill_tokens;
    meta->num_decodes = p->num_decodes;
    meta->num_decode_tokens = p->num_decode_tokens;
    meta->num_spec_decodes = p->num_spec_decodes;
    meta->num_spec_decode_tokens = p->num_spec_decode_tokens;
    meta->num_actual_tokens = p->num_actual_tokens;
    meta->num_rows = p->num_reqs;
    meta->num_tiles = p->has_prefills ? p->launched_tiles : 0;
    meta->uniform_spec_sequence_length = p->uniform_spec_length;
    meta->checkpoint_every_n_tokens = p->checkpoint_every;
    meta->num_checkpoints = p->num_checkpoints;
    if (p->has_bucket) return;
    if (p->speculative) set_spec(meta, arena, settings, p);
    if (!p->speculative || p->mixed) set_non_spec(meta, arena, settings, p);
    if (p->has_prefills) set_prefills(meta, arena, settings, p);
    if (p->has_checkpoints) set_checkpoints(meta, arena, settings, p);
}

void gdn_metadata_move(gdn_metadata *meta, const gdn_arena *arena, int32_t group)
{
#define X(name, type, capacity, per_group) \
    if (per_group && meta->name.data)               \
        meta->name.data = (char *)meta->name.data + (size_t)group * arena->group_stride[GDN_FIELD_##name];
    GDN_FIELDS(X)
#undef X
}
