/* A bucket by runs: rows of each class, then what stands for none. Most padding is that of the step before and is not
 * written again. */
#include "fill/fill_cpu.h"

#include "fill/fill_runs.h"

/* Boundaries `first` .. `last` of a class, then the last one repeated. */
static void fill_bounds(gdn_arena *arena, const gdn_fill_inputs *in, gdn_field field, const int32_t *start,
                        int32_t first, int32_t last, int32_t bounds)
{
    int32_t n = last - first + 1, end = gdn_arena_pad_end_of(arena, field, n, bounds, start[last]);
    if (in->settings->config.query_start_loc_dtype == GDN_INT64) {
        int64_t *wide = gdn_arena_first(arena, field);
        for (int32_t k = 0; k < n; k++) wide[k] = start[first + k];
        repeat64(wide, start[last], n, end);
        return;
    }
    int32_t *out = buffer32(arena, field);
    memcpy(out, start + first, (size_t)n * sizeof *out);
    repeat32(out, start[last], n, end);
}

static void fill_flags(gdn_arena *arena, gdn_field field, const uint8_t *flags, int32_t n, int32_t padded)
{
    uint8_t *out = gdn_arena_first(arena, field);
    if (out != flags) memcpy(out, flags, (size_t)n);
    memset(out + n, 0, (size_t)(gdn_arena_pad_end(arena, field, n, padded) - n));
}

/* A class's tokens, then one past the last token of the bucket. The last run may have gone too far. */
static void fill_token_list(gdn_arena *arena, gdn_field field, const gdn_partition *p, const int32_t *rows,
                            const int32_t *start, int32_t n)
{
    int64_t *out = gdn_arena_first(arena, field), none = gdn_no_token(p->bucket_tokens);
    int32_t tokens = start[n], end = gdn_arena_pad_end_of(arena, field, tokens, p->bucket_tokens, none);
    if (rows) list_tokens(out, p, rows, start, n);
    for (int32_t i = 0; !rows && i < tokens; i++) out[i] = i;
    repeat64(out, none, tokens, end > tokens + SHORT_RUN ? end : tokens + SHORT_RUN);
}

static void fill_spec(gdn_arena *arena, const gdn_fill_inputs *in)
{
    const gdn_partition *p = in->partition;
    int32_t n = p->num_spec, rows = p->bucket_rows;
    copy_slots(arena, in, GDN_FIELD_spec_state_indices_tensor, 0, n, rows, p->state_columns);
    copy_slots(arena, in, GDN_FIELD_spec_read_state_indices, in->indices->spec_read, n, rows, 1);
    fill_bounds(arena, in, GDN_FIELD_spec_query_start_loc, p->spec_start, 0, n, rows + 1);
    fill_accepted(arena, p, in->step, rows);
    fill_conv_shift(arena, in->step, GDN_FIELD_spec_conv_shift, p->spec_rows, n, rows);
    fill_token_list(arena, GDN_FIELD_spec_token_indx, p, p->spec_rows, p->spec_start, n);
    fill_token_list(arena, GDN_FIELD_non_spec_token_indx, p, p->non_spec_rows, p->non_spec_start, p->num_non_spec);
}

static void fill_non_spec(gdn_arena *arena, const gdn_fill_inputs *in)
{
    const gdn_partition *p = in->partition;
    int32_t n = p->num_non_spec, rows = p->bucket_rows;
    copy_slots(arena, in, GDN_FIELD_non_spec_state_indices_tensor, in->indices->non_spec, n, rows + 1, 1);
    copy_slots(arena, in, GDN_FIELD_non_spec_read_state_indices, in->indices->non_spec_read, n, rows + 1, 1);
    fill_bounds(arena, in, GDN_FIELD_non_spec_query_start_loc, p->non_spec_start, 0, n, rows + 2);
    fill_conv_shift(arena, in->step, GDN_FIELD_non_spec_conv_shift, p->non_spec_rows, n, rows + 1);
    fill_initial_states(arena, p, in->step);
    fill_flags(arena, GDN_FIELD_has_initial_state, gdn_arena_first(arena, GDN_FIELD_has_initial_state), n, rows + 1);
    fill_tiles(arena, p);
}

static void fill_decodes(gdn_arena *arena, const gdn_fill_inputs *in)
{
    const gdn_partition *p = in->partition;
    int32_t n = p->num_decodes, rows = p->bucket_rows;
    copy_slots(arena, in, GDN_FIELD_decode_state_indices, in->indices->non_spec, n, rows, 1);
    copy_slots(arena, in, GDN_FIELD_decode_read_state_indices, in->indices->non_spec_read, n, rows, 1);
    fill_bounds(arena, in, GDN_FIELD_decode_query_start_loc, p->non_spec_start, 0, n, rows + 1);
}

/* Chunks number the prefills: none is empty, so that their ordinals are their numbers. */
static void pad_chunks(gdn_arena *arena, const gdn_partition *p)
{
    int32_t rows = p->bucket_rows, n = p->num_prefills + 1, length = gdn_bucket_chunks(rows, p->bucket_tokens);
    int32_t *pairs = buffer32(arena, GDN_FIELD_chunk_indices);
    int32_t end = gdn_arena_pad_end_of(arena, GDN_FIELD_chunk_indices, 2 * p->chunks, 2 * length, rows);
    for (int32_t i = 2 * p->chunks; i < end; i++) pairs[i] = gdn_no_chunk(rows, i % 2);
    end = gdn_arena_pad_end_of(arena, GDN_FIELD_chunk_offsets, n, rows + 2, p->chunks);
    repeat64(gdn_arena_first(arena, GDN_FIELD_chunk_offsets), p->chunks, n, end);
}

static void fill_prefills(gdn_arena *arena, const gdn_fill_inputs *in)
{
    const gdn_partition *p = in->partition;
    int32_t first = p->first_prefill, n = p->num_prefills, rows = p->bucket_rows;
    const uint8_t *initial = gdn_arena_first(arena, GDN_FIELD_has_initial_state);
    size_t skip = (size_t)first;
    copy_slots(arena, in, GDN_FIELD_prefill_state_indices, in->indices->non_spec + skip, n, rows + 1, 1);
    copy_slots(arena, in, GDN_FIELD_prefill_read_state_indices, in->indices->non_spec_read + skip, n, rows + 1, 1);
    fill_bounds(arena, in, GDN_FIELD_prefill_query_start_loc, p->non_spec_start, first, p->num_non_spec, rows + 2);
    fill_flags(arena, GDN_FIELD_prefill_has_initial_state, initial + first, n, rows + 1);
    fill_chunks(arena, p);
    pad_chunks(arena, p);
    fill_kept(arena, in, rows + 1);
}

/* Non-spec tokens in two stretches, then the speculative rows among them. */
static void fill_token_classes(gdn_arena *arena, const gdn_partition *p)
{
    uint8_t *out = gdn_arena_first(arena, GDN_FIELD_token_class);
    int32_t tokens = p->tokens, from = p->prefills_from;
    memset(out, GDN_TOKEN_DECODE, (size_t)from);
    memset(out + from, GDN_TOKEN_PREFILL, (size_t)(tokens - from));
    for (int32_t k = 0; k < p->num_spec; k++) {
        uint8_t *run = out + p->query_start[p->spec_rows ? p->spec_rows[k] : k];
        for (int32_t j = p->spec_start[k]; j < p->spec_start[k + 1]; j++) *run++ = GDN_TOKEN_SPEC;
    }
    memset(out + tokens, GDN_TOKEN_PADDING,
           (size_t)(gdn_arena_pad_end(arena, GDN_FIELD_token_class, tokens, p->bucket_tokens) - tokens));
}

void gdn_fill_bucket(gdn_arena *arena, const gdn_fill_inputs *in)
{
    const gdn_partition *p = in->partition;
    if (in->settings->config.num_speculative_tokens > 0) fill_spec(arena, in);
    fill_non_spec(arena, in);
    fill_decodes(arena, in);
    fill_prefills(arena, in);
    fill_token_classes(arena, p);
    gdn_live_counts(p, buffer32(arena, GDN_FIELD_live_counts));
}
