/* What must hold of a step's tensors whatever the rows were: boundaries rise, lists are permutations, launch
 * tables count on, slots belong to the pool. Known from the public header alone. */
#include "case.h"

#include <stdlib.h>

#define NAME(tensor) #tensor, m->tensor

static int64_t value(gdn_tensor t, int64_t i)
{
    switch (t.dtype) {
    case GDN_INT32: return ((const int32_t *)t.data)[i];
    case GDN_INT64: return ((const int64_t *)t.data)[i];
    default: return ((const uint8_t *)t.data)[i];
    }
}

static int64_t length(gdn_tensor t)
{
    return (int64_t)t.shape[0] * t.shape[1];
}

static void within(const char *name, gdn_tensor t, int64_t low, int64_t high)
{
    for (int64_t i = 0; t.data && i < length(t); i++)
        FUZZ_WANT(value(t, i) >= low && value(t, i) <= high, "%s[%lld] = %lld, want %lld .. %lld", name, (long long)i,
                  (long long)value(t, i), (long long)low, (long long)high);
}

/* From 0 up, never beyond `most`. */
static void rises(const char *name, gdn_tensor t, int64_t most)
{
    if (!t.data) return;
    FUZZ_WANT(t.shape[0] >= 1 && value(t, 0) == 0, "%s has %d elements and begins with no 0", name, t.shape[0]);
    for (int64_t i = 1; i < length(t); i++)
        FUZZ_WANT(value(t, i) >= value(t, i - 1), "%s[%lld] = %lld, below the one before it", name, (long long)i,
                  (long long)value(t, i));
    within(name, t, 0, most);
}

static void bounds(const char *name, gdn_tensor t, const fuzz_case *c)
{
    FUZZ_WANT(!t.data || t.dtype == c->config.query_start_loc_dtype, "%s is of dtype %d", name, t.dtype);
    rises(name, t, c->config.max_num_batched_tokens);
}

/* Both lists together name positions of the batch, each at most once. */
static void check_token_lists(const gdn_metadata *m)
{
    gdn_tensor lists[] = { m->spec_token_indx, m->non_spec_token_indx };
    int64_t tokens = 0;
    for (int k = 0; k < 2; k++) tokens += lists[k].data ? length(lists[k]) : 0;
    if (!tokens) return;
    unsigned char *taken = calloc((size_t)tokens, 1);
    if (!taken) abort();
    for (int k = 0; k < 2; k++)
        for (int64_t i = 0; lists[k].data && i < length(lists[k]); i++) {
            int64_t at = value(lists[k], i);
            FUZZ_WANT(at >= 0 && at < tokens && !taken[at], "token %lld of %lld is listed twice or is none",
                      (long long)at, (long long)tokens);
            FUZZ_WANT(i == 0 || at > value(lists[k], i - 1), "a token list does not rise at %lld", (long long)i);
            taken[at] = 1;
        }
    free(taken);
}

/* (row, 0), (row, 1) ...: rows rise, their chunks count from 0. */
static void check_chunks(const gdn_metadata *m)
{
    gdn_tensor t = m->chunk_indices;
    rises(NAME(chunk_offsets), t.data ? t.shape[0] : 0);
    if (!t.data) return;
    int64_t rows = m->chunk_offsets.shape[0] - 1;
    FUZZ_WANT(t.shape[1] == 2, "chunk_indices is %d wide", t.shape[1]);
    FUZZ_WANT(value(m->chunk_offsets, rows) == t.shape[0], "chunk_offsets ends with %lld, chunk_indices has %d",
              (long long)value(m->chunk_offsets, rows), t.shape[0]);
    for (int64_t row = 0; row < rows; row++)
        for (int64_t i = value(m->chunk_offsets, row); i < value(m->chunk_offsets, row + 1); i++)
            FUZZ_WANT(value(t, 2 * i + 1) == i - value(m->chunk_offsets, row), "chunk %lld is numbered %lld",
                      (long long)i, (long long)value(t, 2 * i + 1));
    int64_t shift = t.shape[0] ? value(t, 0) : 0; /* true row numbers, or numbers among the rows of the table */
    for (int64_t i = 0; i < t.shape[0]; i++)
        FUZZ_WANT(value(t, 2 * i) >= shift && (i == 0 || value(t, 2 * i) >= value(t, 2 * i - 2)),
                  "chunk %lld is of row %lld, behind a later one", (long long)i, (long long)value(t, 2 * i));
}

/* Tiles of a row count from 0, rows rise, and -1 fills the rest of both tables alike. */
static void check_tiles(const gdn_metadata *m)
{
    gdn_tensor row = m->batch_ptr, tile = m->token_chunk_offset_ptr;
    if (!row.data) return;
    FUZZ_WANT(tile.data && length(tile) == length(row) && length(row) >= 2048, "tile tables of %lld and %lld",
              (long long)length(row), tile.data ? (long long)length(tile) : -1);
    int64_t i = 0, rows = m->has_initial_state.shape[0];
    for (; i < length(row) && value(row, i) >= 0; i++) {
        int next = i == 0 || value(row, i) != value(row, i - 1);
        FUZZ_WANT(value(row, i) < rows && (i == 0 || value(row, i) >= value(row, i - 1)), "tile %lld is of row %lld",
                  (long long)i, (long long)value(row, i));
        FUZZ_WANT(value(tile, i) == (next ? 0 : value(tile, i - 1) + 1), "tile %lld is numbered %lld", (long long)i,
                  (long long)value(tile, i));
    }
    for (; i < length(row); i++)
        FUZZ_WANT(value(row, i) == -1 && value(tile, i) == -1, "tile %lld is no padding, unlike the one before",
                  (long long)i);
}

static void check_slots(const fuzz_case *c, const gdn_metadata *m, int32_t group)
{
    int64_t last = c->num_slots[group] - 1, states = c->config.num_speculative_tokens, none = c->config.pad_slot_id;
    within(NAME(spec_state_indices_tensor), none, last);
    within(NAME(non_spec_state_indices_tensor), none, last);
    within(NAME(prefill_state_indices), none, last);
    within(NAME(spec_read_state_indices), none, last);
    within(NAME(non_spec_read_state_indices), none, last);
    within(NAME(prefill_read_state_indices), none, last);
    within(NAME(spec_conv_shift), 0, states);
    within(NAME(non_spec_conv_shift), 0, states);
    within(NAME(num_accepted_tokens), 1, states + 1);
    within(NAME(checkpoint_state_indices), none, last);
    within(NAME(checkpoint_offsets), 0, c->config.max_num_batched_tokens - 1);
    within(NAME(checkpoint_chunk), -1, c->config.max_num_batched_tokens);
}

/* strict counts real rows, and each is of one class. */
static void check_strict_scalars(const fuzz_case *c, const gdn_metadata *m)
{
    int64_t tokens = (int64_t)m->num_prefill_tokens + m->num_decode_tokens + m->num_spec_decode_tokens;
    int64_t rows = (int64_t)m->num_prefills + m->num_decodes + m->num_spec_decodes;
    FUZZ_WANT(m->num_prefills >= 0 && m->num_decodes >= 0 && m->num_spec_decodes >= 0, "a count is below 0");
    FUZZ_WANT(tokens <= m->num_actual_tokens, "%lld tokens of %d", (long long)tokens, m->num_actual_tokens);
    FUZZ_WANT(rows <= m->num_rows, "%lld rows of %d", (long long)rows, m->num_rows);
    FUZZ_WANT(m->num_spec_decode_tokens <= m->num_spec_decodes * (c->config.num_speculative_tokens + 1),
              "%d spec tokens of %d rows", m->num_spec_decode_tokens, m->num_spec_decodes);
}

/* Shapes are those that gdn_bucket tells, and padding names nothing beyond the bucket. */
static void check_bucket(const fuzz_case *c, const gdn_metadata *m)
{
    gdn_metadata told;
    int64_t rows = m->num_rows, tokens = m->num_actual_tokens;
    FUZZ_WANT(!gdn_bucket(&c->config, m->num_rows, m->num_actual_tokens, &told, NULL, 0), "no such bucket");
    const gdn_tensor *want = &told.spec_query_start_loc, *got = &m->spec_query_start_loc;
    for (; got <= &m->live_counts; want++, got++)
        FUZZ_WANT(!got->data == !want->ndim && got->shape[0] == want->shape[0] && got->shape[1] == want->shape[1],
                  "tensor %d is [%d, %d], want [%d, %d]", (int)(got - &m->spec_query_start_loc), got->shape[0],
                  got->shape[1], want->shape[0], want->shape[1]);
    within(NAME(spec_token_indx), 0, tokens);
    within(NAME(non_spec_token_indx), 0, tokens);
    within(NAME(prefill_query_start_loc), 0, tokens);
    within(NAME(chunk_indices), 0, rows > tokens ? rows : tokens);
    within(NAME(token_class), GDN_TOKEN_PADDING, GDN_TOKEN_PREFILL);
    bounds(NAME(decode_query_start_loc), c);
    check_tiles(m);
}

void fuzz_check_outputs(const fuzz_case *c, const gdn_metadata *m, int32_t group)
{
    int64_t tokens = c->config.max_num_batched_tokens;
    FUZZ_WANT(m->num_rows >= 0 && m->num_rows <= c->config.max_rows, "num_rows = %d", m->num_rows);
    FUZZ_WANT(m->num_actual_tokens >= 0 && m->num_actual_tokens <= tokens, "num_actual_tokens = %d",
              m->num_actual_tokens);
    bounds(NAME(spec_query_start_loc), c);
    bounds(NAME(non_spec_query_start_loc), c);
    within(NAME(spec_sequence_masks), 0, 1);
    within(NAME(has_initial_state), 0, 1);
    within(NAME(prefill_has_initial_state), 0, 1);
    if (c->config.full_cuda_graph == GDN_GRAPH_MIXED) {
        check_bucket(c, m);
    } else {
        bounds(NAME(prefill_query_start_loc), c);
        check_token_lists(m);
        check_chunks(m);
        check_tiles(m);
    }
    if (c->config.rules != GDN_RULES_STRICT) return;
    check_slots(c, m, group);
    check_strict_scalars(c, m);
}
