/* One output element from the payload and its index: what output_rules.h says of values, with the values looked
 * up. A block first copies the boundaries that it will search to shared memory, then every thread fills one element.
 * Compiles as C, where the specs' driver runs it, and as CUDA. */
#ifndef GDN_FILL_ELEMENT_H
#define GDN_FILL_ELEMENT_H

#include "cuda/row_values.h"

#ifndef __CUDACC__
#include <string.h>
#endif

/* A prefix sum that elements of an output search: value i belongs to the last row that starts at or
 * before i. rows 0: the output searches nothing. */
typedef struct gdn_search {
    gdn_packed start;
    uint32_t rows;
} gdn_search;

GDN_RULE gdn_search gdn_searched(const gdn_head *h, const gdn_output *s)
{
    gdn_search x;
    x.rows = 0;
    x.start = h->chunk_owner;
    if (s->kind == GDN_FILL_TOKENS) x.start = h->classes[s->spec].start, x.rows = h->classes[s->spec].rows;
    if (s->kind == GDN_FILL_CHUNKS) x.rows = h->chunk_rows;
    if (s->kind == GDN_FILL_TILES) x.start = h->tile_start, x.rows = h->classes[GDN_NON_SPEC].rows;
    if (s->kind == GDN_FILL_CLASSES) x.start = h->classes[GDN_SPEC].first, x.rows = h->classes[GDN_SPEC].rows;
    return x;
}

/* Bytes that a block must copy, in whole 16-byte loads. */
GDN_RULE uint32_t gdn_searched_bytes(gdn_search x)
{
    return (x.rows * (x.start.bits / 8) + 15) / 16 * 16;
}

GDN_RULE uint32_t gdn_find(const unsigned char *memory, gdn_packed start, uint32_t rows, int32_t i)
{
    uint32_t low = 0, high = rows; /* start[low] <= i < start[high] */
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        if (gdn_unpack(memory, start, middle) <= i) low = middle;
        else high = middle;
    }
    return low;
}

/* Counting has no branches: the loads, all of them misses in a launch's cold cache, overlap. */
GDN_RULE uint32_t gdn_output_of(const gdn_head *h, uint32_t block)
{
    uint32_t s = 0;
#ifdef __CUDACC__
#pragma unroll
#endif
    for (uint32_t i = 1; i < GDN_MAX_OUTPUTS; i++) s += block >= h->first_block[i];
    return s;
}

/* Threads of a block copy what it searches to its shared memory of `shared_bytes` bytes; larger prefix sums are
 * searched where they are. */
GDN_RULE void gdn_copy_searched(const gdn_head *h, const unsigned char *payload, uint32_t shared_bytes, uint32_t block,
                                uint32_t thread, unsigned char *shared)
{
    gdn_search x = gdn_searched(h, &h->outputs[gdn_output_of(h, block)]);
    uint32_t bytes = gdn_searched_bytes(x);
    if (bytes > shared_bytes) return;
    for (uint32_t at = thread * 16; at < bytes; at += GDN_THREADS * 16) {
#ifdef __CUDACC__
        *(uint4 *)(shared + at) = *(const uint4 *)(payload + x.start.at + at);
#else
        memcpy(shared + at, payload + x.start.at + at, 16);
#endif
    }
}

/* Is the token at `at` of the batch one of a speculative row? `first`: where those start, in shared memory or not. */
GDN_RULE int32_t gdn_is_spec_token(const gdn_head *h, const unsigned char *payload, const unsigned char *memory,
                                   gdn_search first, int32_t at)
{
    uint32_t k = gdn_find(memory, first.start, first.rows, at);
    int32_t j = at - gdn_unpack(memory, first.start, k);
    return j >= 0 && j < gdn_query_len(&h->classes[GDN_SPEC], payload, k);
}

GDN_RULE void gdn_fill_element(const gdn_head *h, const unsigned char *payload, uint32_t shared_bytes, uint32_t block,
                               uint32_t thread, const unsigned char *shared)
{
    uint32_t output = gdn_output_of(h, block), i = (block - h->first_block[output]) * GDN_THREADS + thread;
    const gdn_output *s = &h->outputs[output];
    if (i >= s->elements) return;

    const gdn_rows *c = &h->classes[s->spec];
    uint32_t group = i / s->per_group, e = i - group * s->per_group;
    uintptr_t array = (uintptr_t)s->out + (uintptr_t)group * s->stride;
    int32_t *out = (int32_t *)array;
    int64_t *wide = (int64_t *)array;
    uint8_t *flag = (uint8_t *)array;
    const gdn_group *g = (const gdn_group *)(const void *)(payload + h->groups) + group;

    gdn_search x = gdn_searched(h, s);
    uint32_t bytes = gdn_searched_bytes(x), is_shared = bytes && bytes <= shared_bytes, k = 0;
    const unsigned char *memory = is_shared ? shared : payload;
    if (is_shared) x.start.at = 0;

    uint32_t is_live = e < s->live, row = s->first + e, bound = (uint32_t)gdn_bound_at((int32_t)e, (int32_t)s->first,
                                                                                       (int32_t)(s->first + s->live));
    switch (s->kind) {
    case GDN_FILL_BOUNDS: out[e] = gdn_unpack(payload, c->start, bound); break;
    case GDN_FILL_WIDE_BOUNDS: wide[e] = gdn_unpack(payload, c->start, bound); break;
    case GDN_FILL_STATES:
        k = e / c->emitted;
        out[e] = k < s->live ? gdn_state(h, g, c, payload, s->first + k, e - k * c->emitted) : h->pad_slot;
        break;
    case GDN_FILL_READS: out[e] = is_live ? gdn_read(h, g, c, payload, row) : h->pad_slot; break;
    case GDN_FILL_ACCEPTED: out[e] = is_live ? gdn_accepted(h, c, payload, row) : GDN_PAD_ACCEPTED; break;
    case GDN_FILL_SHIFT:
        if (!is_live || !gdn_unpack(payload, c->computed, row)) out[e] = gdn_conv_shift(GDN_PAD_ACCEPTED, 1);
        else out[e] = gdn_conv_shift(gdn_accepted(h, c, payload, row), 0);
        break;
    case GDN_FILL_MASK: flag[e] = is_live ? (uint8_t)gdn_unpack(payload, h->mask, e) : 0; break;
    case GDN_FILL_POSITIONS: out[e] = (int32_t)gdn_token_position(0, e); break;
    case GDN_FILL_TOKENS:
        if (is_live) k = gdn_find(memory, x.start, x.rows, (int32_t)e);
        wide[e] = is_live ? gdn_token_position(gdn_unpack(payload, c->first, k),
                                               (int32_t)e - gdn_unpack(memory, x.start, k))
                          : gdn_no_token(h->bucket_tokens);
        break;
    case GDN_FILL_INITIAL: flag[e] = is_live ? gdn_initial(h, c, payload, row) : 0; break;
    case GDN_FILL_CHUNKS: /* e / 2 is the chunk, the pair is (row among those that have chunks, chunk of the row) */
        if (e / 2 >= s->live) {
            out[e] = gdn_no_chunk(h->bucket_rows, (int32_t)(e % 2));
            break;
        }
        k = gdn_find(memory, x.start, x.rows, (int32_t)(e / 2));
        out[e] = e % 2 ? (int32_t)(e / 2) - gdn_unpack(memory, x.start, k) : (int32_t)k;
        break;
    case GDN_FILL_CHUNK_STARTS: wide[e] = gdn_unpack(payload, h->chunk_start, bound); break;
    case GDN_FILL_TILES:
        if (is_live) k = gdn_find(memory, x.start, x.rows, (int32_t)e);
        out[e] = is_live ? (int32_t)k : GDN_NO_TILE;
        ((int32_t *)(array + s->stride))[e] = is_live ? (int32_t)e - gdn_unpack(memory, x.start, k) : GDN_NO_TILE;
        break;
    case GDN_FILL_PREFILL_BOUNDS: out[e] = gdn_unpack(payload, c->start, row) - h->num_decode_tokens; break;
    case GDN_FILL_KEPT_OFFSETS: out[e] = is_live ? gdn_unpack(payload, h->kept_offset, e) : 0; break;
    case GDN_FILL_KEPT_STATES: out[e] = is_live ? gdn_kept_state(h, g, c, payload, e) : h->pad_slot; break;
    case GDN_FILL_KEPT_CHUNKS:
        out[e] = is_live ? gdn_checkpoint_chunk(gdn_unpack(payload, h->chunk_start, e),
                                                gdn_unpack(payload, h->kept_offset, e))
                         : GDN_NO_CHUNK_STATE;
        break;
    case GDN_FILL_KEPT_STARTS: wide[e] = gdn_unpack(payload, h->kept_start, e); break;
    case GDN_FILL_KEPT_ROWS: wide[e] = gdn_kept_row(h, payload, e); break;
    case GDN_FILL_CLASSES:
        flag[e] = gdn_token_class(e, h->tokens, gdn_is_spec_token(h, payload, memory, x, (int32_t)e), h->prefills_from);
        break;
    case GDN_FILL_COUNTS: out[e] = h->live_counts[e]; break;
    default: wide[e] = gdn_unpack(payload, c->start, row) - h->num_decode_tokens; break;
    }
}

#endif
