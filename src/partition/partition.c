/* The partition's sizes: which steps are for a captured graph and how far padded, how wide states are, launch tables.
 */
#include "partition/partition.h"

#include "partition/bucket.h"
#include "partition/checkpoints.h"
#include "partition/classify.h"
#include "base/fields.h"
#include "partition/row_rules.h"

#include <stdlib.h>

gdn_status gdn_partition_new(gdn_partition *p, const gdn_settings *settings)
{
    size_t n = (size_t)settings->config.max_rows + 1;
    int32_t **arrays[] = { &p->all_start, &p->spec_start_buffer, &p->non_spec_start_buffer, &p->spec_rows_buffer,
                           &p->chunk_start, &p->non_spec_rows_buffer, &p->tile_start,
                           /* where there are checkpoints */
                           &p->checkpoint_offset, &p->checkpoint_column, &p->checkpoint_start };
    size_t count = sizeof arrays / sizeof *arrays - (settings->has_checkpoints ? 0 : 3);
    for (size_t i = 0; i < count; i++)
        if (!(*arrays[i] = calloc(n, sizeof(int32_t)))) return GDN_ENOMEM;
    return GDN_OK;
}

void gdn_partition_free(gdn_partition *p)
{
    free(p->all_start);
    free(p->spec_start_buffer);
    free(p->non_spec_start_buffer);
    free(p->spec_rows_buffer);
    free(p->non_spec_rows_buffer);
    free(p->chunk_start);
    free(p->tile_start);
    free(p->checkpoint_offset);
    free(p->checkpoint_column);
    free(p->checkpoint_start);
}

/* Which steps a captured graph may read, and how long their arrays are then. */
static gdn_status size_for_graph(gdn_partition *p, const gdn_settings *settings, const gdn_step *step, gdn_error *error)
{
    int32_t rules = settings->config.rules, cap = settings->cap;
    int32_t target = rules == GDN_RULES_VLLM_2026_04 ? p->num_actual_tokens : p->num_reqs;
    if (!settings->config.full_cuda_graph || p->num_prefills || p->has_bucket) return GDN_OK;

    if (rules == GDN_RULES_STRICT) {
        p->for_graph = p->num_reqs <= cap && p->num_spec_decode_tokens <= cap;
    } else if (p->speculative) {
        p->for_graph = p->num_spec_decodes <= cap && p->num_spec_decode_tokens <= cap;
    } else if (p->num_decodes == 0) {
        return gdn_fail(error, GDN_EINVAL, "num_reqs = %d, want >= 1 with full_cuda_graph", step->num_reqs);
    } else {
        p->for_graph = p->num_decodes <= cap;
        if (p->for_graph && p->rows != p->num_decodes)
            return gdn_fail(error, GDN_EINVAL, "num_reqs = %d, want %d, the rows of query_start_loc", step->num_reqs,
                            p->rows);
    }
    if (p->for_graph) {
        p->padded_rows = target < cap ? target : cap;
        p->padded_bounds = target < cap ? target + 1 : cap + 1;
    }
    return GDN_OK;
}

static gdn_status size_states(gdn_partition *p, const gdn_settings *settings, const gdn_step *step, gdn_error *error)
{
    int32_t states = settings->config.num_speculative_tokens + 1, width = step->tables[0].cols;
    if (settings->windowed) width = settings->window;
    if (!p->speculative || step->null_slots) width = states;
    p->repeat_column = p->for_graph && width == 1 && states > 1;
    if (p->repeat_column) width = states;
    if (p->for_graph && width < states)
        return gdn_fail(error, GDN_EINVAL,
                        "block_table has %d columns per row, want >= %d (num_speculative_tokens + 1)",
                        width, states);
    p->state_columns = width < states ? width : states;
    if (p->speculative && step->accepted_rows < p->num_spec && (!p->for_graph || step->accepted_rows != 1))
        return gdn_fail(error, GDN_EINVAL, "num_accepted_tokens has %d elements, want >= %d (speculative rows)",
                        step->accepted_rows, p->num_spec);
    int64_t most = (int64_t)p->num_spec * states;
    p->listed_tokens = !p->mixed && most < p->num_spec_decode_tokens ? (int32_t)most : p->num_spec_decode_tokens;
    return GDN_OK;
}

/* Prefix sums of the launch tables; bounded by the tokens, so 32 bits hold them. */
static void sum_chunks_and_tiles(gdn_partition *p, const gdn_settings *settings)
{
    const int32_t *start = p->non_spec_start;
    int32_t n = p->num_non_spec, first, chunks = 0, tiles;
    p->first_prefill = p->speculative && !p->has_bucket ? 0 : p->num_decodes;
    p->chunk_row = first = settings->config.rules == GDN_RULES_VLLM_2026_04 ? 0 : p->first_prefill;

    int32_t ones = p->leading_ones < n ? p->leading_ones : n;
    for (int32_t k = 0; k <= ones; k++) p->tile_start[k] = k;
    tiles = ones;
    for (int32_t k = ones; k < n; k++) p->tile_start[k + 1] = tiles += gdn_pieces(start[k + 1] - start[k], GDN_TILE);
    p->chunk_start[0] = 0;
    for (int32_t k = first; k < n; k++)
        p->chunk_start[k - first + 1] = chunks += gdn_pieces(start[k + 1] - start[k], GDN_CHUNK);
    p->chunks = chunks;
    p->tiles = tiles;
    p->launched_tiles = p->has_bucket ? gdn_bucket_tiles(p->bucket_rows, p->bucket_tokens) : tiles;
    p->tile_length = 2 * (p->launched_tiles > GDN_MIN_TILES ? p->launched_tiles : GDN_MIN_TILES);
}

gdn_status gdn_partition_make(gdn_partition *p, const gdn_settings *settings, const gdn_step *step, gdn_error *error)
{
    gdn_status status = gdn_classify(p, settings, step, error);
    p->has_bucket = settings->has_buckets;
    if (!status && p->has_bucket) gdn_bucket_find(p, step);
    if (!status) status = size_for_graph(p, settings, step, error);
    if (!status) status = size_states(p, settings, step, error);
    if (status) return status;
    p->has_prefills = p->num_prefills > 0 || p->has_bucket;
    if (p->has_prefills) sum_chunks_and_tiles(p, settings);
    return gdn_checkpoints_find(p, settings, step, error);
}
