/* Is element i of a tensor consistent with its neighbours, the other tensors and the step's scalars? Each question
 * is a plain function of the outputs, and every value that leads to another element is believed only within bounds.
 * Compiles as C and as CUDA. */
#ifndef GDN_VERIFY_ROWS_H
#define GDN_VERIFY_ROWS_H

#include "verify/verify_input.h"
#include "verify/verify_atomic.h"

enum { GDN_VERIFY_NON_SPEC, GDN_VERIFY_SPEC };

/* Element i of a group's array; INT64_MIN, which no tensor holds, where there is none. */
GDN_RULE int64_t gdn_at(const gdn_verify_input *c, uint32_t field, uint32_t group, int64_t i)
{
    const gdn_verify_tensor *t = &c->fields[field];
    uintptr_t array = (uintptr_t)t->data + (uintptr_t)group * t->stride;
    if (!t->data || i < 0 || i >= t->elements) return INT64_MIN;
    if (t->dtype == GDN_INT32) return ((const int32_t *)array)[i];
    if (t->dtype == GDN_INT64) return ((const int64_t *)array)[i];
    return ((const uint8_t *)array)[i];
}

/* Of a tensor that all groups have together. */
GDN_RULE int64_t gdn_shared(const gdn_verify_input *c, uint32_t field, int64_t i)
{
    return gdn_at(c, field, 0, i);
}

#define GDN_AT(name, i) gdn_shared(c, GDN_FIELD_##name, i)

/* Tokens of a row by its class's boundaries; INT64_MAX where there is no such row. */
GDN_RULE int64_t gdn_tokens_of(const gdn_verify_input *c, uint32_t boundaries, int64_t row)
{
    int64_t from = gdn_shared(c, boundaries, row), to = gdn_shared(c, boundaries, row + 1);
    return from == INT64_MIN || to == INT64_MIN ? INT64_MAX : (int64_t)((uint64_t)to - (uint64_t)from);
}

/* Sums and differences of what may be anything wrap. */
GDN_RULE int64_t gdn_plus(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

GDN_RULE int64_t gdn_parts(int64_t tokens, int64_t size)
{
    return tokens / size + (tokens % size != 0);
}

/* Boundaries start at 0 and never fall, rows have as many tokens as their class allows, the last real row ends
 * where the class does, and padding repeats that. */
GDN_RULE int32_t gdn_verify_boundary(const gdn_verify_input *c, int32_t spec, int64_t i)
{
    const gdn_verify_rows *r = &c->rows[spec];
    int64_t at = gdn_shared(c, r->boundaries, i), n = i ? gdn_tokens_of(c, r->boundaries, i - 1) : 0;
    if (i > r->real) return n == 0 ? 0 : GDN_CHECK_PADDING;
    if (i == 0 && at != 0) return GDN_CHECK_BOUNDARY;
    if (i > 0 && (n < r->least || n > r->most)) return GDN_CHECK_BOUNDARY;
    if (i == r->real && (at < r->least_end || at > r->most_end)) return GDN_CHECK_BOUNDARY;
    if (spec || c->decodes < 0) return 0;
    if (i <= c->decodes && n > 1) return GDN_CHECK_BOUNDARY;
    if (i == c->decodes && at != c->decode_tokens) return GDN_CHECK_BOUNDARY;
    return i == c->decodes + 1 && n < c->least_prefill ? GDN_CHECK_BOUNDARY : 0; /* the first prefill */
}

/* Rows of both classes have numbers of their own among those who use slots. */
GDN_RULE int32_t gdn_claimed(const gdn_verify_input *c, int32_t spec, uint32_t group, int64_t row, int64_t slot,
                             int32_t writes)
{
    uint32_t number = (uint32_t)row + (spec ? 0 : (uint32_t)c->rows[GDN_VERIFY_SPEC].real);
    return gdn_claim_slot(c, group, (uint64_t)slot, number, writes) ? 0 : GDN_CHECK_SHARED;
}

/* Slots to write: pad_slot_id on padding, and under strict slots of the pool with one user each. A speculative row
 * writes as many columns as it has tokens. */
GDN_RULE int32_t gdn_verify_written(const gdn_verify_input *c, uint32_t field, int32_t spec, uint32_t group, int64_t i)
{
    int64_t columns = spec ? c->columns : 1, row = i / columns, slot = gdn_at(c, field, group, i);
    if (row >= c->rows[spec].real) return slot == c->pad_slot ? 0 : GDN_CHECK_PADDING;
    if (!c->strict) /* a row without tokens may be the host's own padding */
        return slot == 0 && c->pad_slot && gdn_tokens_of(c, c->rows[spec].boundaries, row) == 0 ? GDN_CHECK_PADDING : 0;
    if (c->capture) return slot == c->pad_slot ? 0 : GDN_CHECK_SLOT;
    int64_t written = spec ? gdn_tokens_of(c, GDN_FIELD_spec_query_start_loc, row) : 1;
    int32_t writes = i % columns < written;
    if (slot < writes || slot >= c->num_slots[group]) return GDN_CHECK_SLOT;
    return writes ? gdn_claimed(c, spec, group, row, slot, 1) : 0;
}

/* Slots to read, which only strict has: the null slot where a row starts from zeros, and nowhere else. */
GDN_RULE int32_t gdn_verify_read(const gdn_verify_input *c, uint32_t field, int32_t spec, uint32_t group, int64_t i)
{
    int64_t slot = gdn_at(c, field, group, i), initial = GDN_AT(has_initial_state, i);
    if (i >= c->rows[spec].real) return slot == c->pad_slot ? 0 : GDN_CHECK_PADDING;
    if (c->capture) return slot == c->pad_slot ? 0 : GDN_CHECK_SLOT;
    if (slot < 0 || slot >= c->num_slots[group]) return GDN_CHECK_SLOT;
    if (!spec && initial != INT64_MIN && (slot != 0) != (initial != 0)) return GDN_CHECK_INITIAL;
    if (slot == 0) return spec || initial == INT64_MIN ? GDN_CHECK_SLOT : 0;
    return gdn_claimed(c, spec, group, i, slot, 0);
}

GDN_RULE int32_t gdn_verify_accepted(const gdn_verify_input *c, int64_t i)
{
    int64_t accepted = GDN_AT(num_accepted_tokens, i);
    if (i >= c->rows[GDN_VERIFY_SPEC].real) return accepted == 1 ? 0 : GDN_CHECK_PADDING;
    return c->strict && (accepted < 1 || accepted > c->most_accepted) ? GDN_CHECK_ACCEPTED : 0;
}

GDN_RULE int32_t gdn_verify_shift(const gdn_verify_input *c, int32_t spec, int64_t i)
{
    if (spec) return GDN_AT(spec_conv_shift, i) + 1 == GDN_AT(num_accepted_tokens, i) ? 0 : GDN_CHECK_SHIFT;
    int64_t shift = GDN_AT(non_spec_conv_shift, i);
    if (i >= c->rows[GDN_VERIFY_NON_SPEC].real) return shift == 0 ? 0 : GDN_CHECK_PADDING;
    int64_t most = GDN_AT(non_spec_read_state_indices, i) == 0 ? 0 : c->most_accepted - 1;
    return shift < 0 || shift > most ? GDN_CHECK_SHIFT : 0;
}

/* A mixed step's lists hold a row's tokens from where the rows before it end; between the first and the last of a
 * row they only rise (gdn_verify_token), so that nothing else fits in. */
GDN_RULE int32_t gdn_verify_row_tokens(const gdn_verify_input *c, int64_t row, int64_t spec_before, int32_t spec)
{
    const gdn_verify_rows *r = &c->rows[spec];
    int64_t before = row - spec_before, k = spec ? spec_before : before;
    uint32_t list = spec ? GDN_FIELD_spec_token_indx : GDN_FIELD_non_spec_token_indx;
    int64_t first = gdn_plus(GDN_AT(spec_query_start_loc, spec_before), GDN_AT(non_spec_query_start_loc, before));
    int64_t from = gdn_shared(c, r->boundaries, k), more = gdn_plus(gdn_tokens_of(c, r->boundaries, k), -1);
    if (k >= r->real) return GDN_CHECK_MASK;
    if (more == -1) return 0;
    if (gdn_shared(c, list, from) != first) return GDN_CHECK_TOKENS;
    return gdn_shared(c, list, gdn_plus(from, more)) == gdn_plus(first, more) ? 0 : GDN_CHECK_TOKENS;
}

/* spec_before: mask bits set in front of row i. */
GDN_RULE int32_t gdn_verify_mask(const gdn_verify_input *c, int64_t i, int64_t spec_before)
{
    int64_t mask = GDN_AT(spec_sequence_masks, i), masks = c->fields[GDN_FIELD_spec_sequence_masks].elements;
    if (mask != 0 && mask != 1) return GDN_CHECK_MASK;
    if (c->for_graph && i >= c->num_spec_decodes) return mask == 0 ? 0 : GDN_CHECK_PADDING;
    if (!c->for_graph && i + 1 == masks && spec_before + mask != c->num_spec_decodes) return GDN_CHECK_MASK;
    if (c->mixed) return gdn_verify_row_tokens(c, i, spec_before, (int32_t)mask);
    /* Without plain rows, others can only be empty, and the boundaries are those of the batch's first rows. */
    int32_t misplaced = mask == 0 && (c->strict || (i < c->num_spec_decodes &&
                                                    gdn_tokens_of(c, GDN_FIELD_spec_query_start_loc, i) != 0));
    return misplaced ? GDN_CHECK_MASK : 0;
}

GDN_RULE int32_t gdn_verify_token(const gdn_verify_input *c, uint32_t field, int64_t i)
{
    int64_t at = gdn_shared(c, field, i);
    if (!c->mixed) return at == i ? 0 : GDN_CHECK_TOKENS;
    return at < 0 || at >= c->tokens || (i > 0 && at <= gdn_shared(c, field, i - 1)) ? GDN_CHECK_TOKENS : 0;
}

/* strict: decodes have a state; the first prefill is one because it is longer than a token, or has none. */
GDN_RULE int32_t gdn_verify_initial(const gdn_verify_input *c, int64_t i)
{
    int64_t initial = GDN_AT(has_initial_state, i);
    if (initial != 0 && initial != 1) return GDN_CHECK_INITIAL;
    if (!c->strict || i > c->decodes) return 0;
    if (i < c->decodes) return initial ? 0 : GDN_CHECK_INITIAL;
    return initial && gdn_tokens_of(c, GDN_FIELD_non_spec_query_start_loc, i) <= 1 ? GDN_CHECK_INITIAL : 0;
}

#endif
