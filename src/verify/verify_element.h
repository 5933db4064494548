/* Which question an element of a field is asked, and which thread of a launch asks it. Compiles as C and as CUDA. */
#ifndef GDN_VERIFY_ELEMENT_H
#define GDN_VERIFY_ELEMENT_H

#include "verify/verify_bucket.h"
#include "verify/verify_checkpoints.h"
#include "verify/verify_chunks.h"

/* spec_before: what gdn_verify_mask wants, for elements of the mask alone. */
GDN_RULE int32_t gdn_verify_element(const gdn_verify_input *c, uint32_t field, uint32_t group, int64_t i,
                                    int64_t spec_before)
{
    int32_t code = c->has_bucket ? gdn_verify_in_bucket(c, field, group, i) : -1;
    if (code >= 0) return code;
    switch (field) {
    case GDN_FIELD_spec_query_start_loc: return gdn_verify_boundary(c, GDN_VERIFY_SPEC, i);
    case GDN_FIELD_non_spec_query_start_loc: return gdn_verify_boundary(c, GDN_VERIFY_NON_SPEC, i);
    case GDN_FIELD_spec_state_indices_tensor: return gdn_verify_written(c, field, GDN_VERIFY_SPEC, group, i);
    case GDN_FIELD_non_spec_state_indices_tensor: return gdn_verify_written(c, field, GDN_VERIFY_NON_SPEC, group, i);
    case GDN_FIELD_spec_sequence_masks: return gdn_verify_mask(c, i, spec_before);
    case GDN_FIELD_spec_token_indx:
    case GDN_FIELD_non_spec_token_indx: return gdn_verify_token(c, field, i);
    case GDN_FIELD_num_accepted_tokens: return gdn_verify_accepted(c, i);
    case GDN_FIELD_has_initial_state: return gdn_verify_initial(c, i);
    case GDN_FIELD_chunk_indices: return gdn_verify_chunk(c, i);
    case GDN_FIELD_chunk_offsets: return gdn_verify_chunk_start(c, i);
    case GDN_FIELD_batch_ptr: return gdn_verify_tile(c, i);
    case GDN_FIELD_prefill_query_start_loc:
        return gdn_verify_prefills(c, field, GDN_FIELD_non_spec_query_start_loc, 0, i, c->tokens_before_prefills);
    case GDN_FIELD_prefill_state_indices:
        return gdn_verify_prefills(c, field, GDN_FIELD_non_spec_state_indices_tensor, group, i, 0);
    case GDN_FIELD_prefill_has_initial_state:
        return gdn_verify_prefills(c, field, GDN_FIELD_has_initial_state, 0, i, 0);
    case GDN_FIELD_prefill_read_state_indices:
        return gdn_verify_prefills(c, field, GDN_FIELD_non_spec_read_state_indices, group, i, 0);
    case GDN_FIELD_spec_read_state_indices: return gdn_verify_read(c, field, GDN_VERIFY_SPEC, group, i);
    case GDN_FIELD_non_spec_read_state_indices: return gdn_verify_read(c, field, GDN_VERIFY_NON_SPEC, group, i);
    case GDN_FIELD_spec_conv_shift: return gdn_verify_shift(c, GDN_VERIFY_SPEC, i);
    case GDN_FIELD_non_spec_conv_shift: return gdn_verify_shift(c, GDN_VERIFY_NON_SPEC, i);
    case GDN_FIELD_checkpoint_offsets: return gdn_verify_kept_offset(c, i);
    case GDN_FIELD_checkpoint_state_indices: return gdn_verify_kept_state(c, group, i);
    case GDN_FIELD_checkpoint_chunk: return gdn_verify_kept_chunk(c, i);
    case GDN_FIELD_checkpoint_cu_starts: return gdn_verify_kept_start(c, i);
    case GDN_FIELD_checkpoint_rows: return gdn_verify_kept_row(c, i);
    default: return 0; /* token_chunk_offset_ptr: with batch_ptr */
    }
}

/* Mask bits set in front of row i, eight rows at a time. */
GDN_RULE int64_t gdn_spec_before(const gdn_verify_input *c, int64_t i)
{
    const unsigned char *mask = (const unsigned char *)(uintptr_t)c->fields[GDN_FIELD_spec_sequence_masks].data;
    int64_t n = 0, at = 0;
    for (; at + 8 <= i; at += 8) {
        uint64_t eight = *(const uint64_t *)(const void *)(mask + at) & 0x0101010101010101u;
        n += (int64_t)(eight * 0x0101010101010101u >> 56); /* the sum of its bytes */
    }
    for (; at < i; at++) n += mask[at] & 1;
    return n;
}

/* Overwrites what lies within 16 bytes of a buffer and after its tensor, with what gdn_builder_poison writes. */
GDN_RULE void gdn_poison_stretch(const gdn_unused *u, uint32_t group, uint32_t stretch)
{
    unsigned char *buffer = (unsigned char *)((uintptr_t)u->buffer + (uintptr_t)group * u->stride);
    uint32_t from = stretch * GDN_UNUSED_STRETCH, to = from + GDN_UNUSED_STRETCH;
    if (to > u->bytes) to = u->bytes;
    if (from < u->used) from = u->used;
    for (; from < to && from % 4; from++) buffer[from] = 0xa5;
    for (; from + 4 <= to; from += 4) *(uint32_t *)(void *)(buffer + from) = 0xa5a5a5a5u;
    for (; from < to; from++) buffer[from] = 0xa5;
}

/* The first 16 bytes that are not all in use, and how many stretches there are from there on. */
GDN_RULE uint32_t gdn_first_stretch(const gdn_unused *u)
{
    return u->used / GDN_UNUSED_STRETCH;
}

GDN_RULE uint32_t gdn_stretches(const gdn_unused *u)
{
    return (u->bytes + GDN_UNUSED_STRETCH - 1) / GDN_UNUSED_STRETCH - gdn_first_stretch(u);
}

/* Thread i of those that poison a buffer. */
GDN_RULE void gdn_poison_by_thread(const gdn_unused *u, uint32_t i)
{
    uint32_t n = u->buffer ? gdn_stretches(u) : 0;
    if (n && i / n < u->groups) gdn_poison_stretch(u, i / n, gdn_first_stretch(u) + i % n);
}

/* Thread i of those that look at a field. */
GDN_RULE void gdn_verify_by_thread(const gdn_verify_input *c, uint32_t field, uint32_t i)
{
    const gdn_verify_tensor *t = &c->fields[field];
    uint32_t group = t->elements ? i / t->elements : t->groups;
    if (group >= t->groups) return;
    i -= group * t->elements;
    int64_t spec_before = field == GDN_FIELD_spec_sequence_masks ? gdn_spec_before(c, i) : 0;
    int32_t code = gdn_verify_element(c, field, group, i, spec_before);
    if (code) gdn_report(c, field, group, i, code);
}

GDN_RULE void gdn_verify_block(const gdn_verify_input *c, uint32_t block, uint32_t thread)
{
    uint32_t s = 0;
    for (uint32_t i = 1; i < 2 * GDN_NUM_FIELDS; i++) s += block >= c->first_block[i];
    uint32_t i = (block - c->first_block[s]) * GDN_VERIFY_THREADS + thread;
    if (block == 0 && thread == 0) gdn_forget_claim(c);
    if (s < GDN_NUM_FIELDS) gdn_verify_by_thread(c, s, i);
    else gdn_poison_by_thread(&c->unused[s - GDN_NUM_FIELDS], i);
}

#endif
