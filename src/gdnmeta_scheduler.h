/* gdnmeta_scheduler.h - what a scheduler keeps besides builders: state-slot pools, blocks of an attention cache, a
 * queue by key, a sort. gdnmeta.h needs none of it, and its conventions hold here. */
#ifndef GDNMETA_SCHEDULER_H
#define GDNMETA_SCHEDULER_H

#include "gdnmeta.h"

#if !defined(GDNMETA_CDEF) && defined(__cplusplus)
extern "C" {
#endif

/* A builder's configuration with every default filled in; num_slots points into the builder. */
GDN_API void gdn_builder_config(const gdn_builder *b, gdn_config *out);

/* Pools of state slots, one per cache group. A slot has an owner (any number >= 0) and counts its holders. It is
 * reused, in LIFO order, once its last holder drops it; its generation then increases, so that a reference kept from
 * before is recognized. Slot 0 is never assigned. */
typedef struct gdn_slots gdn_slots;

typedef struct gdn_slots_stats {
    int64_t taken;           /* slots handed out so far */
    int32_t size, available; /* size counts the null slot: available + used = size - 1 */
    int32_t used, peak;
} gdn_slots_stats;

GDN_API gdn_status gdn_slots_new(int32_t num_groups, const int32_t *num_slots, GDN_OWN gdn_slots **out);
GDN_API void gdn_slots_free(GDN_OWN GDN_NULL_OK gdn_slots *s);

/* Take n slots, into out[n]: all of them or, with GDN_ECAP, none. */
GDN_API gdn_status gdn_slots_take(gdn_slots *s, int32_t group, int32_t n, int32_t owner, int32_t *out);
GDN_API gdn_status gdn_slots_share(gdn_slots *s, int32_t group,
                                   int32_t slot); /* adds a holder; GDN_EINVAL: it has none */
GDN_API gdn_status gdn_slots_drop(gdn_slots *s, int32_t group, int32_t slot);  /* removes one; likewise */
GDN_API int32_t gdn_slots_available(const gdn_slots *s, int32_t group);
GDN_API int32_t gdn_slots_owner(const gdn_slots *s, int32_t group, int32_t slot); /* -1: free, null or unknown */
GDN_API int32_t gdn_slots_holders(const gdn_slots *s, int32_t group, int32_t slot);
GDN_API uint32_t gdn_slots_generation(const gdn_slots *s, int32_t group, int32_t slot);
GDN_API gdn_status gdn_slots_describe(const gdn_slots *s, int32_t group, gdn_slots_stats *out);

/* The same in every group at once: tables[num_groups] of slots, of which each call means those from `at` on.
 * All groups change or, where the call is refused, none. */
GDN_API int32_t gdn_slots_least(const gdn_slots *s); /* available in the poorest group */
GDN_API gdn_status gdn_slots_take_each(gdn_slots *s, int32_t n, int32_t owner, int32_t *const *tables, int64_t at);
GDN_API gdn_status gdn_slots_drop_each(gdn_slots *s, int32_t *const *tables, int64_t at); /* 0 is left */
/* One holder more for slots[num_groups], which then stand in the tables, too. NULL: in none. */
GDN_API gdn_status gdn_slots_share_each(gdn_slots *s, const int32_t *slots, GDN_NULL_OK int32_t *const *tables,
                                        int64_t at);
GDN_API gdn_status gdn_slots_drop_list(gdn_slots *s, const int32_t *slots); /* slots[num_groups]; 0 or less: none */
GDN_API gdn_status gdn_slots_copy_each(const gdn_slots *s, int32_t *const *tables, int64_t at, int32_t *out);
/* Slots move, and leave fresh ones of `owner` behind, or 0 where that is -1. */
GDN_API gdn_status gdn_slots_move_each(gdn_slots *s, int32_t *const *tables, int64_t from, int64_t to, int32_t owner);

/* Blocks of an attention cache, 0 .. num_blocks - 1, of block_size tokens each. A row of the table has a request's
 * blocks, the one of its first tokens first, 0 in the columns after them. A block counts the rows and others that
 * hold it, and is handed out again, last come first served, when the last one drops it. On a CUDA builder table and
 * slot mappings have copies on its device. */
typedef struct gdn_kv gdn_kv;

typedef struct gdn_kv_config {
    int32_t num_blocks, block_size;
    int32_t rows, columns; /* of the table */
    int32_t steps;         /* slot mappings, each of max_num_batched_tokens of the builder */
} gdn_kv_config;

GDN_API gdn_status gdn_kv_new(gdn_builder *b, const gdn_kv_config *config, GDN_OWN gdn_kv **out);
GDN_API void gdn_kv_free(GDN_OWN GDN_NULL_OK gdn_kv *kv);

GDN_API const int32_t *gdn_kv_table(const gdn_kv *kv);                 /* [rows, columns] */
GDN_API const int64_t *gdn_kv_mapping(const gdn_kv *kv, int32_t step); /* [max_num_batched_tokens] */
GDN_API const int32_t *gdn_kv_device_table(const gdn_kv *kv);          /* NULL on the CPU, here and below */
GDN_API const int64_t *gdn_kv_device_mapping(const gdn_kv *kv, int32_t step);
GDN_API int32_t gdn_kv_available(const gdn_kv *kv);
GDN_API int32_t gdn_kv_holders(const gdn_kv *kv, int32_t block); /* 0: free or unknown */
GDN_API int32_t gdn_kv_length(const gdn_kv *kv, int32_t row);    /* columns in use */
GDN_API int32_t gdn_kv_sole(const gdn_kv *kv, int32_t row);      /* blocks that nothing but the row holds */

/* Free blocks into the row until it has so many: all of them or, with GDN_ECAP, none. */
GDN_API gdn_status gdn_kv_extend(gdn_kv *kv, int32_t row, int32_t columns);
/* The first n blocks of an empty row, held by others already: one holder more each. GDN_EINVAL: nothing is changed. */
GDN_API gdn_status gdn_kv_share(gdn_kv *kv, int32_t row, const int32_t *blocks, int32_t n);
GDN_API gdn_status gdn_kv_hold(gdn_kv *kv, const int32_t *blocks, int32_t n); /* beside rows; likewise */
/* n free blocks, held beside rows: all of them or, with GDN_ECAP, none. */
GDN_API gdn_status gdn_kv_take(gdn_kv *kv, int32_t n, int32_t *out);
GDN_API gdn_status gdn_kv_drop(gdn_kv *kv, const int32_t *blocks, int32_t n); /* one holder less each */
GDN_API gdn_status gdn_kv_clear(gdn_kv *kv, int32_t row);                     /* the row drops all it has */

/* Where the tokens of a step lie: block * block_size + offset each, -1 up to `padded`. */
GDN_API gdn_status gdn_kv_map(gdn_kv *kv, int32_t step, int32_t num_rows, const int32_t *table_row,
                              const int32_t *query_len, const int32_t *seq_len, int32_t padded);
/* Bring the device's copies up to date, in order on `stream`; nothing on the CPU. */
GDN_API gdn_status gdn_kv_send(gdn_builder *b, gdn_kv *kv, int32_t step, int32_t tokens, GDN_NULL_OK void *stream);

/* A queue by key, smallest first, ties by `tie`, NaN as infinity; members are ids 0 .. capacity - 1. */
typedef struct gdn_heap gdn_heap;

GDN_API gdn_status gdn_heap_new(int32_t capacity, GDN_OWN gdn_heap **out);
GDN_API void gdn_heap_free(GDN_OWN GDN_NULL_OK gdn_heap *h);
GDN_API gdn_status gdn_heap_reserve(gdn_heap *h, int32_t capacity); /* more ids; nothing else changes */
GDN_API gdn_status gdn_heap_set(gdn_heap *h, int32_t id, double key, double tie);      /* joins, or moves: O(log n) */
GDN_API int32_t gdn_heap_remove(gdn_heap *h, int32_t id);                              /* 1, or 0 if it is no member */
GDN_API int32_t gdn_heap_first(const gdn_heap *h);                                     /* -1: empty */
GDN_API int32_t gdn_heap_size(const gdn_heap *h);
GDN_API double gdn_heap_key(const gdn_heap *h, int32_t id);                            /* infinity: no member */
GDN_API void gdn_heap_clear(gdn_heap *h);

/* Sort items[n] by keys[items[i]], stable, NaN as infinity. work is scratch memory, [n]. */
GDN_API void gdn_sort_by_key(int32_t n, const double *keys, int32_t *items, int32_t *work);

/* For tests: overwrite every output buffer with 0xA5 and forget which padding is in place. */
GDN_API void gdn_builder_poison(gdn_builder *b);

#if !defined(GDNMETA_CDEF) && defined(__cplusplus)
}
#endif
#endif
