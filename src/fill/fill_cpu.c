/* Outputs by runs, as long as the batch. Buckets' are fill_bucket.c's. */
#include "fill/fill_cpu.h"

#include "base/simd_range.h"
#include "fill/fill_runs.h"

/* Boundaries 0 .. n, then the last one repeated. Its value changes with the step, so nothing is spared. */
static void copy_bounds(gdn_arena *arena, const gdn_fill_inputs *in, gdn_field field, const int32_t *start, int32_t n,
                        int32_t bounds)
{
    if (in->settings->config.query_start_loc_dtype == GDN_INT64) {
        int64_t *wide = gdn_arena_first(arena, field);
        for (int32_t k = 0; k <= n; k++) wide[k] = start[k];
        for (int32_t k = n + 1; k < bounds; k++) wide[k] = start[n];
        return;
    }
    int32_t *out = buffer32(arena, field);
    memcpy(out, start, ((size_t)n + 1) * sizeof *out);
    repeat32(out, start[n], n + 1, bounds);
}

static void fill_spec(gdn_arena *arena, const gdn_fill_inputs *in)
{
    const gdn_partition *p = in->partition;
    const gdn_step *step = in->step;
    int32_t n = p->num_spec, padded = p->for_graph ? p->padded_rows : n;

    copy_slots(arena, in, GDN_FIELD_spec_state_indices_tensor, 0, n, padded, p->state_columns);
    copy_bounds(arena, in, GDN_FIELD_spec_query_start_loc, p->spec_start, n, p->for_graph ? p->padded_bounds : n + 1);

    fill_accepted(arena, p, step, padded);

    /* For a captured graph, the mask speaks of the first n rows only: vLLM trusts padding to be at the back. */
    uint8_t *mask = gdn_arena_first(arena, GDN_FIELD_spec_sequence_masks);
    int32_t masked = p->for_graph ? n : p->rows, mask_length = p->for_graph ? padded : p->rows;
    const int32_t *drafts = step->num_draft_tokens;
    for (int32_t i = 0; i < masked; i++) mask[i] = drafts[i] >= 0;
    int32_t end = gdn_arena_pad_end(arena, GDN_FIELD_spec_sequence_masks, masked, mask_length);
    memset(mask + masked, 0, (size_t)(end - masked));

    if (in->settings->config.rules != GDN_RULES_STRICT) return;
    copy_slots(arena, in, GDN_FIELD_spec_read_state_indices, in->indices->spec_read, n, padded, 1);
    fill_conv_shift(arena, step, GDN_FIELD_spec_conv_shift, p->spec_rows, n, padded);
}

static void fill_non_spec(gdn_arena *arena, const gdn_fill_inputs *in)
{
    const gdn_partition *p = in->partition;
    int32_t n = p->num_non_spec, padded = p->for_graph ? p->padded_rows : n;

    copy_slots(arena, in, GDN_FIELD_non_spec_state_indices_tensor, in->indices->non_spec, n, padded, 1);
    copy_bounds(arena, in, GDN_FIELD_non_spec_query_start_loc, p->non_spec_start, n,
                p->for_graph ? p->padded_bounds : n + 1);
    if (in->settings->config.rules != GDN_RULES_STRICT) return;
    copy_slots(arena, in, GDN_FIELD_non_spec_read_state_indices, in->indices->non_spec_read, n, padded, 1);
    fill_conv_shift(arena, in->step, GDN_FIELD_non_spec_conv_shift, p->non_spec_rows, n, padded);
}

static void fill_token_lists(gdn_arena *arena, const gdn_partition *p)
{
    if (!p->mixed) {
        int32_t *out = buffer32(arena, GDN_FIELD_spec_token_indx);
        int32_t n = p->listed_tokens;
        for (int32_t i = 0; i < n; i++) out[i] = i;
        return;
    }
    list_tokens(gdn_arena_first(arena, GDN_FIELD_spec_token_indx), p, p->spec_rows, p->spec_start, p->num_spec);
    list_tokens(gdn_arena_first(arena, GDN_FIELD_non_spec_token_indx), p, p->non_spec_rows, p->non_spec_start,
                p->num_non_spec);
}

/* The rows from the first prefill on, once more: kernels for prefills alone find them at fixed addresses. */
static void fill_prefills(gdn_arena *arena, const gdn_fill_inputs *in)
{
    const gdn_partition *p = in->partition;
    int32_t dtype = in->settings->config.query_start_loc_dtype, from = p->first_prefill, n = p->num_non_spec;
    int32_t *out = buffer32(arena, GDN_FIELD_prefill_query_start_loc);
    int64_t *wide = gdn_arena_first(arena, GDN_FIELD_prefill_query_start_loc);
    const uint8_t *initial = gdn_arena_first(arena, GDN_FIELD_has_initial_state);
    size_t skip = (size_t)from;
    for (int32_t k = from; dtype == GDN_INT32 && k <= n; k++)
        out[k - from] = p->non_spec_start[k] - p->num_decode_tokens;
    for (int32_t k = from; dtype == GDN_INT64 && k <= n; k++)
        wide[k - from] = p->non_spec_start[k] - p->num_decode_tokens;
    memcpy(gdn_arena_first(arena, GDN_FIELD_prefill_has_initial_state), initial + skip, (size_t)(n - from));
    copy_slots(arena, in, GDN_FIELD_prefill_state_indices, in->indices->non_spec + skip, n - from, n - from, 1);
    if (in->settings->config.rules == GDN_RULES_STRICT)
        copy_slots(arena, in, GDN_FIELD_prefill_read_state_indices, in->indices->non_spec_read + skip, n - from,
                   n - from, 1);
}

static void fill_checkpoints(gdn_arena *arena, const gdn_fill_inputs *in)
{
    const gdn_partition *p = in->partition;
    int32_t n = p->num_kept_rows, prefills = p->num_non_spec - p->first_prefill, others = n - prefills;
    fill_kept(arena, in, n);
    if (!p->checkpoint_every) return;
    int64_t *starts = gdn_arena_first(arena, GDN_FIELD_checkpoint_cu_starts);
    int64_t *rows = gdn_arena_first(arena, GDN_FIELD_checkpoint_rows);
    for (int32_t k = 0; k <= prefills; k++) starts[k] = p->checkpoint_start[k];
    for (int32_t k = 0; k < n; k++)
        rows[k] = k < others ? 0
                             : gdn_checkpoint_row(p->checkpoint_start[k - others], p->checkpoint_offset[k],
                                                  p->checkpoint_every);
}

/* A graph may read slots that no tensor of this step covers: they are unassigned now. */
static void clear_slots(gdn_arena *arena, const gdn_fill_inputs *in, gdn_field field)
{
    if (arena->live[field] == 0) return; /* of the last step there are none, as in most steps */
    pad_slots(arena, field, in->settings->config.num_groups, 0, 0, in->settings->config.pad_slot_id);
}

static void clear_absent(gdn_arena *arena, const gdn_fill_inputs *in)
{
    const gdn_partition *p = in->partition;
    if (!p->speculative) {
        clear_slots(arena, in, GDN_FIELD_spec_state_indices_tensor);
        clear_slots(arena, in, GDN_FIELD_spec_read_state_indices);
    } else if (!p->mixed) {
        clear_slots(arena, in, GDN_FIELD_non_spec_state_indices_tensor);
        clear_slots(arena, in, GDN_FIELD_non_spec_read_state_indices);
    }
    if (!p->has_prefills) {
        clear_slots(arena, in, GDN_FIELD_prefill_state_indices);
        clear_slots(arena, in, GDN_FIELD_prefill_read_state_indices);
    }
    if (!p->has_checkpoints) clear_slots(arena, in, GDN_FIELD_checkpoint_state_indices);
}

GDN_WIDE __attribute__((flatten)) static void fill_all(gdn_arena *arena, const gdn_fill_inputs *in)
{
    const gdn_partition *p = in->partition;
    if (in->settings->config.full_cuda_graph) clear_absent(arena, in);
    if (p->speculative) {
        fill_spec(arena, in);
        fill_token_lists(arena, p);
    }
    if (!p->speculative || p->mixed) fill_non_spec(arena, in);
    if (!p->has_prefills) return;
    fill_initial_states(arena, p, in->step);
    if (in->settings->config.gdn_prefill_backend == GDN_PREFILL_TRITON) fill_chunks(arena, p);
    fill_tiles(arena, p);
    fill_prefills(arena, in);
    if (p->has_checkpoints) fill_checkpoints(arena, in);
}

void gdn_fill_cpu(gdn_arena *arena, const gdn_fill_inputs *in)
{
    if (in->partition->has_bucket) gdn_fill_bucket(arena, in);
    else fill_all(arena, in);
}
