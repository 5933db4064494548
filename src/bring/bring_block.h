/* How blocks of a launch share the work. Each of them looks through all rows and lists those with something to bring,
 * in order, so that all have the same list; then they take pieces in turn. Where the list is empty they are done.
 * Threads of a block wait for each other between these functions. Compiles as C, where the specs' driver runs it, and
 * as CUDA. */
#ifndef GDN_BRING_BLOCK_H
#define GDN_BRING_BLOCK_H

#include "bring/bring_rows.h"

enum { GDN_BRING_WORDS = GDN_BRING_STRETCH / 32 };

/* In shared memory, of a stretch of rows. */
typedef struct gdn_bring_list {
    uint32_t marks[GDN_BRING_WORDS];      /* a bit a row: has something to bring */
    uint32_t before[GDN_BRING_WORDS + 1]; /* marks in front of each word, then all */
    gdn_brought moves[GDN_BRING_STRETCH];
} gdn_bring_list;

GDN_RULE uint32_t gdn_count_bits(uint32_t word)
{
#ifdef __CUDACC__
    return (uint32_t)__popc(word);
#else
    return (uint32_t)__builtin_popcount(word);
#endif
}

GDN_RULE void gdn_bring_clear(gdn_bring_list *list, uint32_t thread)
{
    if (thread < GDN_BRING_WORDS) list->marks[thread] = 0;
}

GDN_RULE void gdn_bring_mark(const gdn_bring_plan *p, uint32_t first, gdn_bring_list *list, uint32_t thread)
{
    uint32_t rows = gdn_bring_rows_in_all(p);
    for (uint32_t i = thread; i < GDN_BRING_STRETCH && first + i < rows; i += GDN_BRING_THREADS) {
        if (!gdn_bring_row(p, first + i).to) continue;
#ifdef __CUDACC__
        atomicOr(&list->marks[i / 32], 1u << i % 32);
#else
        list->marks[i / 32] |= 1u << i % 32;
#endif
    }
}

GDN_RULE void gdn_bring_count(gdn_bring_list *list, uint32_t thread)
{
    if (thread > GDN_BRING_WORDS) return;
    uint32_t n = 0;
    for (uint32_t w = 0; w < thread; w++) n += gdn_count_bits(list->marks[w]);
    list->before[thread] = n;
}

GDN_RULE void gdn_bring_note(const gdn_bring_plan *p, uint32_t first, gdn_bring_list *list, uint32_t thread)
{
    for (uint32_t i = thread; i < GDN_BRING_STRETCH; i += GDN_BRING_THREADS) {
        uint32_t word = list->marks[i / 32], bit = 1u << i % 32;
        if (!(word & bit)) continue;
        list->moves[list->before[i / 32] + gdn_count_bits(word & (bit - 1))] = gdn_bring_row(p, first + i);
    }
}

#ifdef __CUDACC__
typedef uint4 gdn_unit16;
#define GDN_UNROLL _Pragma("unroll")
#else
typedef struct gdn_unit16 {
    uint64_t low, high;
} gdn_unit16;
#define GDN_UNROLL
#endif

/* Four loads are under way at a time. */
#define GDN_COPY_UNITS(type)                                                                                           \
    {                                                                                                                  \
        const type *source = (const type *)(const void *)from;                                                        \
        type *target = (type *)(void *)to;                                                                             \
        uint32_t n = bytes / (uint32_t)sizeof(type), i = thread, step = GDN_BRING_THREADS;                             \
        for (; i + 3 * step < n; i += 4 * step) {                                                                      \
            type a = source[i], b = source[i + step], c = source[i + 2 * step], d = source[i + 3 * step];              \
            target[i] = a, target[i + step] = b, target[i + 2 * step] = c, target[i + 3 * step] = d;                   \
        }                                                                                                              \
        for (; i < n; i += step) target[i] = source[i];                                                                \
    }

/* Bytes that no unit holds come last. */
GDN_RULE void gdn_copy_piece(unsigned char *to, const unsigned char *from, uint32_t bytes, uint32_t unit,
                             uint32_t thread)
{
    switch (unit) {
    case 16: GDN_COPY_UNITS(gdn_unit16) break;
    case 8: GDN_COPY_UNITS(uint64_t) break;
    case 4: GDN_COPY_UNITS(uint32_t) break;
    case 2: GDN_COPY_UNITS(uint16_t) break;
    case 1: GDN_COPY_UNITS(unsigned char) break;
    }
    uint32_t rest = bytes / unit * unit + thread;
    if (rest < bytes) to[rest] = from[rest];
}

GDN_RULE void gdn_bring_state_piece(const gdn_bring_plan *p, gdn_brought m, uint64_t pool, uint32_t piece,
                                    uint32_t thread)
{
    int64_t at = (int64_t)piece * GDN_BRING_PIECE, left = p->slot_bytes - at;
    uint32_t bytes = left < GDN_BRING_PIECE ? (uint32_t)left : GDN_BRING_PIECE;
    unsigned char *slots = (unsigned char *)(uintptr_t)pool + at;
    gdn_copy_piece(slots + m.to * p->slot_stride, slots + m.from * p->slot_stride, bytes, p->unit, thread);
}

/* A channel is one thread's, which reads ahead of what it writes: a window may move within itself. */
#define GDN_SLIDE(type)                                                                                                \
    for (uint32_t i = 0; i < n; i += 8) {                                                                              \
        type held[8];                                                                                                  \
        GDN_UNROLL for (uint32_t j = 0; j < 8; j++) if (i + j < n)                                                     \
            held[j] = *(const type *)(const void *)(source + (i + j) * p->token_stride);                               \
        GDN_UNROLL for (uint32_t j = 0; j < 8; j++) if (i + j < n)                                                     \
            *(type *)(void *)(target + (i + j) * p->token_stride) = held[j];                                           \
    }

GDN_RULE void gdn_bring_window_piece(const gdn_bring_plan *p, gdn_brought m, uint64_t pool, uint32_t piece,
                                     uint32_t thread)
{
    uint32_t channel = piece * GDN_BRING_THREADS + thread, n = p->length - (uint32_t)m.shift;
    if (channel >= p->channels) return;
    unsigned char *slots = (unsigned char *)(uintptr_t)pool + channel * p->channel_stride;
    const unsigned char *source = slots + m.from * p->slot_stride + m.shift * p->token_stride;
    unsigned char *target = slots + m.to * p->slot_stride;
    switch (p->element_bytes) {
    case 8: GDN_SLIDE(uint64_t) break;
    case 4: GDN_SLIDE(uint32_t) break;
    case 2: GDN_SLIDE(uint16_t) break;
    case 1: GDN_SLIDE(unsigned char) break;
    }
}

/* The block's part of a listed stretch. */
#define GDN_BRING_PIECES(name, piece)                                                                                  \
    GDN_RULE void name(const gdn_bring_plan *p, const gdn_bring_list *list, uint32_t block, uint32_t blocks,           \
                       uint32_t thread)                                                                                \
    {                                                                                                                  \
        uint64_t each = (uint64_t)p->num_pools * p->pieces, all = list->before[GDN_BRING_WORDS] * each;                \
        for (uint64_t i = block; i < all; i += blocks) {                                                               \
            uint32_t rest = (uint32_t)(i % each);                                                                      \
            piece(p, list->moves[i / each], p->pools[rest / p->pieces], rest % p->pieces, thread);                     \
        }                                                                                                              \
    }

GDN_BRING_PIECES(gdn_bring_all_states_of, gdn_bring_state_piece)
GDN_BRING_PIECES(gdn_bring_all_windows_of, gdn_bring_window_piece)

#endif
