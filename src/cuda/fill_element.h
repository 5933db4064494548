/* One output element from the payload and its index: what output_rules.h says of values, with the values looked
 * up. A block first stages the boundaries that it will search, then every thread fills one element.
 * Compiles as C, where the specs' driver runs it, and as CUDA. */
#ifndef GDN_FILL_ELEMENT_H
#define GDN_FILL_ELEMENT_H

#include "fill/output_rules.h"
#include "cuda/kernel_params.h"

#ifndef __CUDACC__
#include <string.h>
#endif

GDN_RULE int32_t gdn_unpack(const unsigned char *payload, gdn_packed a, uint32_t i)
{
    const unsigned char *memory = payload + a.at;
    uint32_t v = 0;
    if (a.bits == 16) v = ((const uint16_t *)(const void *)memory)[i];
    else if (a.bits == 32) v = ((const uint32_t *)(const void *)memory)[i];
    else if (a.bits == 8) v = memory[i];
    else if (a.bits == 1) v = memory[i / 8] >> i % 8 & 1;
    return (int32_t)((uint32_t)a.base + i * (uint32_t)a.step + v);
}

GDN_RULE int32_t gdn_device_element(uint64_t array, int64_t i)
{
    return ((const int32_t *)(uintptr_t)array)[i];
}

/* Sticky: a fault is never cleared here, and any row that has it will do. */
GDN_RULE void gdn_fault(const gdn_head *h, const gdn_rows *c, const unsigned char *payload, uint32_t fault, uint32_t k)
{
    ((volatile int32_t *)(uintptr_t)h->faults)[fault] = gdn_unpack(payload, c->number, k) + 1;
}

GDN_RULE int32_t gdn_query_len(const gdn_rows *c, const unsigned char *payload, uint32_t k)
{
    return gdn_unpack(payload, c->start, k + 1) - gdn_unpack(payload, c->start, k);
}

GDN_RULE int32_t gdn_seq_len(const gdn_head *h, const gdn_rows *c, const unsigned char *payload, uint32_t k)
{
    int32_t i = gdn_unpack(payload, c->seq_index, k);
    return i < 0 ? 0 : gdn_device_element(h->seq_lens, i);
}

/* num_accepted_tokens as given. */
GDN_RULE int32_t gdn_given_accepted(const gdn_head *h, const gdn_rows *c, const unsigned char *payload, uint32_t k)
{
    if (!h->accepted) return gdn_unpack(payload, c->accepted, k);
    int32_t i = gdn_unpack(payload, c->accepted_index, k);
    return i < 0 ? GDN_PAD_ACCEPTED : gdn_device_element(h->accepted, i);
}

GDN_RULE int32_t gdn_accepted(const gdn_head *h, const gdn_rows *c, const unsigned char *payload, uint32_t k)
{
    int32_t a = gdn_given_accepted(h, c, payload, k);
    if (!h->strict || (a >= 1 && a <= h->most_accepted)) return a;
    gdn_fault(h, c, payload, GDN_FAULT_ACCEPTED, k);
    return GDN_PAD_ACCEPTED;
}

/* A block of a table on the device; the host has checked the table row. */
GDN_RULE int32_t gdn_table_cell(const gdn_head *h, const gdn_group *g, const gdn_rows *c, const unsigned char *payload,
                                uint32_t k, int64_t column)
{
    int32_t row = gdn_unpack(payload, c->table_row, k);
    if (row < 0) return h->pad_slot;
    if (column >= 0 && column < h->table_columns) return gdn_device_element(g->table, row * g->stride + column);
    gdn_fault(h, c, payload, GDN_FAULT_COLUMN, k);
    return h->pad_slot;
}

/* strict: a slot that the host has not seen. */
GDN_RULE int32_t gdn_checked_slot(const gdn_head *h, const gdn_group *g, const gdn_rows *c,
                                  const unsigned char *payload, uint32_t k, int32_t slot, int32_t lowest)
{
    if (!h->strict || (slot >= lowest && slot < g->num_slots)) return slot;
    gdn_fault(h, c, payload, GDN_FAULT_SLOT, k);
    return h->pad_slot;
}

/* Slot that row k writes, or keeps for its column-th token. */
GDN_RULE int32_t gdn_state(const gdn_head *h, const gdn_group *g, const gdn_rows *c, const unsigned char *payload,
                           uint32_t k, uint32_t column)
{
    if (!g->table) return gdn_unpack(payload, g->slots, c->slots + k * c->columns + column);
    if (gdn_unpack(payload, c->table_row, k) < 0) return h->pad_slot;
    int64_t at = h->repeat_column ? 0 : column;
    int32_t written = c->emitted == 1 || (int32_t)column < gdn_query_len(c, payload, k);
    if (h->align) {
        int32_t window = h->seq_lens ? gdn_window_start(gdn_seq_len(h, c, payload, k), h->block_size)
                                     : gdn_unpack(payload, c->window, k);
        at += window;
        if ((int64_t)window + h->last_column >= h->table_columns)
            at = h->table_columns; /* all of the window, or none */
    }
    int32_t slot = gdn_table_cell(h, g, c, payload, k, at);
    if (at >= h->table_columns) return slot;
    if (h->pad_slot && !h->strict && slot == GDN_NULL_SLOT && !gdn_query_len(c, payload, k)) return h->pad_slot;
    return gdn_checked_slot(h, g, c, payload, k, slot, written);
}

/* strict: slot of the row's current state. */
GDN_RULE int32_t gdn_read(const gdn_head *h, const gdn_group *g, const gdn_rows *c, const unsigned char *payload,
                          uint32_t k)
{
    int32_t column = gdn_unpack(payload, c->read_column, k), implied = column == GDN_READ_IMPLIED;
    if (column == -1) return GDN_NULL_SLOT;
    if (!g->table && !implied && c->reads_packed) return gdn_unpack(payload, g->slots, c->reads + k);
    if (implied && h->align) {
        int32_t seq_len = gdn_seq_len(h, c, payload, k), query_len = gdn_query_len(c, payload, k);
        if (seq_len <= query_len) return h->pad_slot; /* reported with the initial states */
        column = gdn_window_start(seq_len - query_len, h->block_size);
    } else if (implied) {
        int32_t a = gdn_given_accepted(h, c, payload, k);
        if (gdn_accepted(h, c, payload, k) != a) return h->pad_slot;
        column = a - 1;
    }
    if (!g->table && !implied) return gdn_unpack(payload, g->slots, c->slots + k * c->columns + (uint32_t)column);
    int32_t slot = h->pad_slot;
    if (g->table) {
        if (column >= h->table_columns) return gdn_table_cell(h, g, c, payload, k, column);
        slot = gdn_table_cell(h, g, c, payload, k, column);
    } else if ((uint32_t)column < c->columns) {
        slot = gdn_unpack(payload, g->slots, c->slots + k * c->columns + (uint32_t)column);
    }
    return gdn_checked_slot(h, g, c, payload, k, slot, 1);
}

/* Has the row a state? Under strict the host said so, and the device's length must agree. */
GDN_RULE uint8_t gdn_initial(const gdn_head *h, const gdn_rows *c, const unsigned char *payload, uint32_t k)
{
    uint8_t computed = (uint8_t)gdn_unpack(payload, c->computed, k);
    if (!h->seq_lens) return computed;
    int32_t seq_len = gdn_seq_len(h, c, payload, k), query_len = gdn_query_len(c, payload, k);
    uint8_t found = gdn_has_initial_state(seq_len, query_len);
    if (!h->strict) return found;
    if (seq_len < query_len || found != computed) gdn_fault(h, c, payload, GDN_FAULT_SEQ_LEN, k);
    return computed;
}

/* A prefix sum that elements of a segment search: value i belongs to the last row that starts at or
 * before i. rows 0: the segment searches nothing. */
typedef struct gdn_search {
    gdn_packed start;
    uint32_t rows;
} gdn_search;

GDN_RULE gdn_search gdn_searched(const gdn_head *h, const gdn_segment *s)
{
    gdn_search x;
    x.rows = 0;
    x.start = h->chunk_owner;
    if (s->kind == GDN_FILL_TOKENS) x.start = h->classes[s->spec].start, x.rows = h->classes[s->spec].rows;
    if (s->kind == GDN_FILL_CHUNKS) x.rows = h->chunk_rows;
    if (s->kind == GDN_FILL_TILES) x.start = h->tile_start, x.rows = h->classes[GDN_NON_SPEC].rows;
    return x;
}

/* Bytes that a block must stage, in whole 16-byte loads. */
GDN_RULE uint32_t gdn_staged_bytes(gdn_search x)
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
GDN_RULE uint32_t gdn_segment_of(const gdn_head *h, uint32_t block)
{
    uint32_t s = 0;
#ifdef __CUDACC__
#pragma unroll
#endif
    for (uint32_t i = 1; i < GDN_MAX_SEGMENTS; i++) s += block >= h->first_block[i];
    return s;
}

/* Threads of a block copy what it searches to its shared memory of `room` bytes; larger prefix sums are
 * searched where they are. */
GDN_RULE void gdn_stage(const gdn_head *h, const unsigned char *payload, uint32_t room, uint32_t block, uint32_t thread,
                        unsigned char *shared)
{
    gdn_search x = gdn_searched(h, &h->segments[gdn_segment_of(h, block)]);
    uint32_t bytes = gdn_staged_bytes(x);
    if (bytes > room) return;
    for (uint32_t at = thread * 16; at < bytes; at += GDN_THREADS * 16) {
#ifdef __CUDACC__
        *(uint4 *)(shared + at) = *(const uint4 *)(payload + x.start.at + at);
#else
        memcpy(shared + at, payload + x.start.at + at, 16);
#endif
    }
}

/* Boundary e of the prefills, which start after the decodes. */
GDN_RULE int32_t gdn_tail_bound(const gdn_head *h, const gdn_rows *c, const unsigned char *payload, uint32_t e)
{
    return gdn_unpack(payload, c->start, (uint32_t)h->first_prefill + e) - h->num_decode_tokens;
}

/* Slot that row k keeps its checkpoint in. */
GDN_RULE int32_t gdn_kept_state(const gdn_head *h, const gdn_group *g, const gdn_rows *c, const unsigned char *payload,
                                uint32_t k)
{
    if (!g->table) return gdn_unpack(payload, g->slots, h->kept_slots + k);
    int32_t column = gdn_unpack(payload, h->kept_column, k);
    return column < 0 ? h->pad_slot : gdn_table_cell(h, g, c, payload, k, column);
}

GDN_RULE int64_t gdn_kept_row(const gdn_head *h, const unsigned char *payload, uint32_t k)
{
    int32_t prefill = (int32_t)k - h->kept_others;
    if (prefill < 0) return 0;
    return gdn_checkpoint_row(gdn_unpack(payload, h->kept_start, (uint32_t)prefill),
                              gdn_unpack(payload, h->kept_offset, k), h->kept_every);
}

GDN_RULE void gdn_fill_element(const gdn_head *h, const unsigned char *payload, uint32_t room, uint32_t block,
                               uint32_t thread, const unsigned char *shared)
{
    uint32_t segment = gdn_segment_of(h, block), i = (block - h->first_block[segment]) * GDN_THREADS + thread;
    const gdn_segment *s = &h->segments[segment];
    if (i >= s->elements) return;

    const gdn_rows *c = &h->classes[s->spec];
    uint32_t group = i / s->per_group, e = i - group * s->per_group;
    uintptr_t array = (uintptr_t)s->out + (uintptr_t)group * s->stride;
    int32_t *out = (int32_t *)array;
    int64_t *wide = (int64_t *)array;
    uint8_t *flag = (uint8_t *)array;
    const gdn_group *g = (const gdn_group *)(const void *)(payload + h->groups) + group;

    gdn_search x = gdn_searched(h, s);
    uint32_t bytes = gdn_staged_bytes(x), staged = bytes && bytes <= room, k = 0;
    const unsigned char *memory = staged ? shared : payload;
    if (staged) x.start.at = 0;

    switch (s->kind) {
    case GDN_FILL_BOUNDS: out[e] = gdn_unpack(payload, c->start, e < c->rows ? e : c->rows); break;
    case GDN_FILL_WIDE_BOUNDS: wide[e] = gdn_unpack(payload, c->start, e < c->rows ? e : c->rows); break;
    case GDN_FILL_STATES:
        k = e / c->emitted;
        out[e] = k < c->rows ? gdn_state(h, g, c, payload, k, e - k * c->emitted) : h->pad_slot;
        break;
    case GDN_FILL_READS: out[e] = e < c->rows ? gdn_read(h, g, c, payload, e) : h->pad_slot; break;
    case GDN_FILL_ACCEPTED: out[e] = e < c->rows ? gdn_accepted(h, c, payload, e) : GDN_PAD_ACCEPTED; break;
    case GDN_FILL_SHIFT:
        if (e >= c->rows || !gdn_unpack(payload, c->computed, e)) out[e] = gdn_conv_shift(GDN_PAD_ACCEPTED, 1);
        else out[e] = gdn_conv_shift(gdn_accepted(h, c, payload, e), 0);
        break;
    case GDN_FILL_MASK: flag[e] = e < h->masked ? (uint8_t)gdn_unpack(payload, h->mask, e) : 0; break;
    case GDN_FILL_POSITIONS: out[e] = (int32_t)gdn_token_position(0, e); break;
    case GDN_FILL_TOKENS:
        k = gdn_find(memory, x.start, x.rows, (int32_t)e);
        wide[e] = gdn_token_position(gdn_unpack(payload, c->first, k), (int32_t)e - gdn_unpack(memory, x.start, k));
        break;
    case GDN_FILL_INITIAL: flag[e] = gdn_initial(h, c, payload, e); break;
    case GDN_FILL_CHUNKS: /* e / 2 is the chunk, the pair is (row among those that have chunks, chunk of the row) */
        k = gdn_find(memory, x.start, x.rows, (int32_t)(e / 2));
        out[e] = e % 2 ? (int32_t)(e / 2) - gdn_unpack(memory, x.start, k) : (int32_t)k;
        break;
    case GDN_FILL_CHUNK_STARTS: wide[e] = gdn_unpack(payload, h->chunk_start, e); break;
    case GDN_FILL_TILES:
        if (e < h->tiles) k = gdn_find(memory, x.start, x.rows, (int32_t)e);
        out[e] = e < h->tiles ? (int32_t)k : GDN_NO_TILE;
        ((int32_t *)(array + s->stride))[e] = e < h->tiles ? (int32_t)e - gdn_unpack(memory, x.start, k) : GDN_NO_TILE;
        break;
    case GDN_FILL_PREFILL_BOUNDS: out[e] = gdn_tail_bound(h, c, payload, e); break;
    case GDN_FILL_KEPT_OFFSETS: out[e] = gdn_unpack(payload, h->kept_offset, e); break;
    case GDN_FILL_KEPT_STATES: out[e] = gdn_kept_state(h, g, c, payload, e); break;
    case GDN_FILL_KEPT_STARTS: wide[e] = gdn_unpack(payload, h->kept_start, e); break;
    case GDN_FILL_KEPT_ROWS: wide[e] = gdn_kept_row(h, payload, e); break;
    default: wide[e] = gdn_tail_bound(h, c, payload, e); break;
    }
}

#endif
