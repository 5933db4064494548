/* Shapes as functions of rows, tokens and the configuration: whatever the batch, a graph finds the same. */
#include "fill/bucket_shapes.h"

#include "partition/bucket.h"

#include <string.h>

gdn_status gdn_bucket_check(const gdn_settings *settings, int32_t rows, int32_t tokens, gdn_error *error)
{
    const gdn_config *c = &settings->config;
    if (!settings->has_buckets)
        GDN_REFUSE(error, "full_cuda_graph = %s, want \"mixed\": other steps have no bucket",
                   c->full_cuda_graph ? "true" : "false");
    if (rows < 0 || rows > c->max_rows)
        GDN_FAIL(error, rows < 0 ? GDN_EINVAL : GDN_ECAP, "rows = %d, want 0 .. %d (max_rows)", rows, c->max_rows);
    if (tokens < 0 || tokens > c->max_num_batched_tokens)
        GDN_FAIL(error, tokens < 0 ? GDN_EINVAL : GDN_ECAP, "tokens = %d, want 0 .. %d (max_num_batched_tokens)",
                 tokens, c->max_num_batched_tokens);
    return GDN_OK;
}

#define SHAPE(name, type, rows, columns, dimensions) \
    (m->name = (gdn_tensor){ .shape = { (rows), (columns) }, .dtype = (type), .ndim = (dimensions) })
#define VECTOR(name, type, length) SHAPE(name, type, length, 1, 1)

static void shape_spec(gdn_metadata *m, const gdn_config *c, int32_t rows, int32_t tokens)
{
    VECTOR(spec_query_start_loc, c->query_start_loc_dtype, rows + 1);
    SHAPE(spec_state_indices_tensor, GDN_INT32, rows, c->num_speculative_tokens + 1, 2);
    VECTOR(spec_token_indx, GDN_INT64, tokens);
    VECTOR(non_spec_token_indx, GDN_INT64, tokens);
    VECTOR(num_accepted_tokens, GDN_INT32, rows);
    VECTOR(spec_read_state_indices, GDN_INT32, rows);
    VECTOR(spec_conv_shift, GDN_INT32, rows);
}

static void shape_non_spec(gdn_metadata *m, const gdn_config *c, int32_t rows)
{
    VECTOR(non_spec_query_start_loc, c->query_start_loc_dtype, rows + 2);
    VECTOR(non_spec_state_indices_tensor, GDN_INT32, rows + 1);
    VECTOR(non_spec_read_state_indices, GDN_INT32, rows + 1);
    VECTOR(non_spec_conv_shift, GDN_INT32, rows + 1);
    VECTOR(has_initial_state, GDN_BOOL, rows + 1);
}

static void shape_decodes(gdn_metadata *m, const gdn_config *c, int32_t rows)
{
    VECTOR(decode_query_start_loc, c->query_start_loc_dtype, rows + 1);
    VECTOR(decode_state_indices, GDN_INT32, rows);
    VECTOR(decode_read_state_indices, GDN_INT32, rows);
}

static void shape_prefills(gdn_metadata *m, const gdn_config *c, int32_t rows, int32_t tokens)
{
    VECTOR(prefill_query_start_loc, c->query_start_loc_dtype, rows + 2);
    VECTOR(prefill_state_indices, GDN_INT32, rows + 1);
    VECTOR(prefill_read_state_indices, GDN_INT32, rows + 1);
    VECTOR(prefill_has_initial_state, GDN_BOOL, rows + 1);
    SHAPE(chunk_indices, GDN_INT32, gdn_bucket_chunks(rows, tokens), 2, 2);
    VECTOR(chunk_offsets, GDN_INT64, rows + 2);
    VECTOR(checkpoint_offsets, GDN_INT32, rows + 1);
    VECTOR(checkpoint_state_indices, GDN_INT32, rows + 1);
    VECTOR(checkpoint_chunk, GDN_INT32, rows + 1);
}

void gdn_bucket_shapes(gdn_metadata *m, const gdn_settings *settings, int32_t rows, int32_t tokens)
{
    const gdn_config *c = &settings->config;
    int32_t tiles = gdn_bucket_tiles(rows, tokens), length = 2 * (tiles > GDN_MIN_TILES ? tiles : GDN_MIN_TILES);
    memset(m, 0, sizeof *m);
    m->num_rows = rows;
    m->num_actual_tokens = tokens;
    m->num_tiles = tiles;
    if (c->num_speculative_tokens > 0) shape_spec(m, c, rows, tokens);
    shape_non_spec(m, c, rows);
    shape_decodes(m, c, rows);
    shape_prefills(m, c, rows, tokens);
    VECTOR(batch_ptr, GDN_INT32, length);
    VECTOR(token_chunk_offset_ptr, GDN_INT32, length);
    VECTOR(token_class, GDN_UINT8, tokens);
    VECTOR(live_counts, GDN_INT32, GDN_LIVE_COUNTS);
}
