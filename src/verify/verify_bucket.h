/* What buckets have besides, or otherwise: padding of a length that the bucket says, decodes and prefills as copies of
 * the non-spec rows, lists of tokens without a mask, classes and counts. Compiles as C and as CUDA. */
#ifndef GDN_VERIFY_BUCKET_H
#define GDN_VERIFY_BUCKET_H

#include "verify/verify_chunks.h"

/* The row whose tokens, or chunks, contain `at`, if the boundaries rise. */
GDN_RULE int64_t gdn_row_of(const gdn_verify_input *c, uint32_t boundaries, int64_t at)
{
    int64_t low = 0, high = (int64_t)c->fields[boundaries].elements - 1;
    while (high - low > 1) {
        int64_t middle = (low + high) / 2;
        if (gdn_shared(c, boundaries, middle) <= at) low = middle;
        else high = middle;
    }
    return low;
}

/* Element i of a class's copy of the non-spec rows, which has rows `first` .. `first` + rows - 1 and then padding. */
GDN_RULE int32_t gdn_verify_copy(const gdn_verify_input *c, uint32_t field, uint32_t whole, uint32_t group, int64_t i,
                                 int64_t first, int64_t rows, int64_t pad)
{
    int64_t value = gdn_at(c, field, group, i);
    if (i >= rows) return value == pad ? 0 : GDN_CHECK_PADDING;
    return value == gdn_at(c, whole, group, first + i) ? 0 : GDN_CHECK_TAIL;
}

/* Its boundaries: those of the non-spec rows from `first` to `last`, which padding repeats. */
GDN_RULE int32_t gdn_verify_copied_bound(const gdn_verify_input *c, uint32_t field, int64_t i, int64_t first,
                                         int64_t last)
{
    int64_t at = first + i < last ? first + i : last;
    if (gdn_shared(c, field, i) == GDN_AT(non_spec_query_start_loc, at)) return 0;
    return first + i > last ? GDN_CHECK_PADDING : GDN_CHECK_TAIL;
}

/* GDN_TOKEN_* of a token of a class's list. */
GDN_RULE int64_t gdn_listed_class(const gdn_verify_input *c, int32_t spec, int64_t i)
{
    return spec ? GDN_TOKEN_SPEC : i < c->decode_tokens ? GDN_TOKEN_DECODE : GDN_TOKEN_PREFILL;
}

/* A list rises, by one within a row, through tokens of its class; then it names none. With the classes of all tokens
 * that leaves no other list. */
GDN_RULE int32_t gdn_verify_listed(const gdn_verify_input *c, uint32_t field, int64_t i)
{
    int32_t spec = field == GDN_FIELD_spec_token_indx;
    const gdn_verify_rows *r = &c->rows[spec];
    int64_t at = gdn_shared(c, field, i), before = gdn_shared(c, field, i - 1);
    if (i >= r->most_end) return at == c->bucket_tokens ? 0 : GDN_CHECK_PADDING;
    if (at <= before) return GDN_CHECK_TOKENS; /* before the first there is the least number */
    if (GDN_AT(token_class, at) != gdn_listed_class(c, spec, i)) return GDN_CHECK_TOKENS;
    int32_t begins = i == 0 || gdn_shared(c, r->boundaries, gdn_row_of(c, r->boundaries, i)) == i;
    return begins || at == before + 1 ? 0 : GDN_CHECK_TOKENS;
}

/* With lists, they ask for the class of each token that they name, and together name every one. */
GDN_RULE int32_t gdn_verify_class(const gdn_verify_input *c, int64_t i)
{
    int64_t told = GDN_AT(token_class, i);
    if (i >= c->tokens) return told == GDN_TOKEN_PADDING ? 0 : GDN_CHECK_PADDING;
    if (!c->has_lists) return told == gdn_listed_class(c, 0, i) ? 0 : GDN_CHECK_CLASS;
    return told >= GDN_TOKEN_SPEC && told <= GDN_TOKEN_PREFILL ? 0 : GDN_CHECK_CLASS;
}

GDN_RULE int32_t gdn_verify_live(const gdn_verify_input *c, int64_t i)
{
    return i < GDN_LIVE_COUNTS && GDN_AT(live_counts, i) == c->live[i] ? 0 : GDN_CHECK_LIVE;
}

/* Pairs (prefill, chunk of it): no prefill is empty. Then the row that always is. */
GDN_RULE int32_t gdn_verify_bucket_chunk(const gdn_verify_input *c, int64_t i)
{
    int64_t at = GDN_AT(chunk_indices, i), chunk = i / 2, second = i % 2;
    int64_t chunks = GDN_AT(chunk_offsets, (int64_t)c->fields[GDN_FIELD_chunk_offsets].elements - 1);
    if (chunk >= chunks) return at == (second ? 0 : c->bucket_rows) ? 0 : GDN_CHECK_PADDING;
    int64_t row = gdn_row_of(c, GDN_FIELD_chunk_offsets, chunk);
    int64_t want = second ? gdn_plus(chunk, -GDN_AT(chunk_offsets, row)) : row;
    return at == want ? 0 : GDN_CHECK_CHUNKS;
}

/* Answers for the fields that are not as elsewhere; -1: this one is. */
GDN_RULE int32_t gdn_verify_in_bucket(const gdn_verify_input *c, uint32_t field, uint32_t group, int64_t i)
{
    int64_t decodes = c->decodes, rows = c->rows[GDN_VERIFY_NON_SPEC].real, prefills = rows - decodes;
    switch (field) {
    case GDN_FIELD_spec_token_indx:
    case GDN_FIELD_non_spec_token_indx: return gdn_verify_listed(c, field, i);
    case GDN_FIELD_has_initial_state:
        return i >= rows ? GDN_AT(has_initial_state, i) == 0 ? 0 : GDN_CHECK_PADDING : -1;
    case GDN_FIELD_chunk_indices: return gdn_verify_bucket_chunk(c, i);
    case GDN_FIELD_decode_query_start_loc: return gdn_verify_copied_bound(c, field, i, 0, decodes);
    case GDN_FIELD_decode_state_indices:
        return gdn_verify_copy(c, field, GDN_FIELD_non_spec_state_indices_tensor, group, i, 0, decodes, c->pad_slot);
    case GDN_FIELD_decode_read_state_indices:
        return gdn_verify_copy(c, field, GDN_FIELD_non_spec_read_state_indices, group, i, 0, decodes, c->pad_slot);
    case GDN_FIELD_prefill_query_start_loc: return gdn_verify_copied_bound(c, field, i, decodes, rows);
    case GDN_FIELD_prefill_state_indices:
        return gdn_verify_copy(c, field, GDN_FIELD_non_spec_state_indices_tensor, group, i, decodes, prefills,
                               c->pad_slot);
    case GDN_FIELD_prefill_read_state_indices:
        return gdn_verify_copy(c, field, GDN_FIELD_non_spec_read_state_indices, group, i, decodes, prefills,
                               c->pad_slot);
    case GDN_FIELD_prefill_has_initial_state:
        return gdn_verify_copy(c, field, GDN_FIELD_has_initial_state, 0, i, decodes, prefills, 0);
    case GDN_FIELD_token_class: return gdn_verify_class(c, i);
    case GDN_FIELD_live_counts: return gdn_verify_live(c, i);
    default: return -1;
    }
}

#endif
