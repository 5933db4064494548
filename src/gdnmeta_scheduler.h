/* gdnmeta_scheduler.h - what a scheduler keeps besides builders: state-slot pools, a queue by key, a sort. gdnmeta.h
 * needs none of it, and its conventions hold here. */
#ifndef GDNMETA_SCHEDULER_H
#define GDNMETA_SCHEDULER_H

#include "gdnmeta.h"

#if !defined(GDNMETA_CDEF) && defined(__cplusplus)
extern "C" {
#endif

/* A builder's configuration with every default filled in; num_slots points into the builder. */
GDN_API void gdn_builder_config(const gdn_builder *b, gdn_config *out);

/* Pools of state slots, one a cache group. A slot has an owner (any number >= 0), counts its holders,
 * and is handed out again, last come first served, when the last one drops it; its generation then
 * goes up, so that a reference kept from before can be told. Slot 0 is never handed out. */
typedef struct gdn_slots gdn_slots;

typedef struct gdn_slots_stats {
    int64_t taken;           /* slots handed out so far */
    int32_t size, available; /* size counts the null slot: available + used = size - 1 */
    int32_t used, peak;
} gdn_slots_stats;

GDN_API gdn_status gdn_slots_new(int32_t num_groups, const int32_t *num_slots, GDN_OWN gdn_slots **out);
GDN_API void gdn_slots_free(GDN_OWN GDN_NULL_OK gdn_slots *s);

/* n slots into out[n]: all of them or, with GDN_ECAP, none. */
GDN_API gdn_status gdn_slots_take(gdn_slots *s, int32_t group, int32_t n, int32_t owner, int32_t *out);
GDN_API gdn_status gdn_slots_share(gdn_slots *s, int32_t group,
                                   int32_t slot); /* one holder more; GDN_EINVAL: it has no holder */
GDN_API gdn_status gdn_slots_drop(gdn_slots *s, int32_t group, int32_t slot);  /* one less; likewise */
GDN_API int32_t gdn_slots_available(const gdn_slots *s, int32_t group);
GDN_API int32_t gdn_slots_owner(const gdn_slots *s, int32_t group, int32_t slot); /* -1: free, null or unknown */
GDN_API int32_t gdn_slots_holders(const gdn_slots *s, int32_t group, int32_t slot);
GDN_API uint32_t gdn_slots_generation(const gdn_slots *s, int32_t group, int32_t slot);
GDN_API gdn_status gdn_slots_describe(const gdn_slots *s, int32_t group, gdn_slots_stats *out);

/* A queue by key, smallest first, ties by `tie`, NaN as infinity; members are ids 0 .. capacity - 1. */
typedef struct gdn_heap gdn_heap;

GDN_API gdn_status gdn_heap_new(int32_t capacity, GDN_OWN gdn_heap **out);
GDN_API void gdn_heap_free(GDN_OWN GDN_NULL_OK gdn_heap *h);
GDN_API gdn_status gdn_heap_reserve(gdn_heap *h, int32_t capacity); /* more ids, nothing else changes */
GDN_API gdn_status gdn_heap_set(gdn_heap *h, int32_t id, double key, double tie);      /* joins, or moves: O(log n) */
GDN_API int32_t gdn_heap_remove(gdn_heap *h, int32_t id);                              /* 1, or 0: it was no member */
GDN_API int32_t gdn_heap_first(const gdn_heap *h);                                     /* -1: empty */
GDN_API int32_t gdn_heap_size(const gdn_heap *h);
GDN_API double gdn_heap_key(const gdn_heap *h, int32_t id);                            /* infinity: no member */
GDN_API void gdn_heap_clear(gdn_heap *h);

/* Sort items[n] by keys[items[i]], stable, NaN as infinity. work is scratch, [n]. */
GDN_API void gdn_sort_by_key(int32_t n, const double *keys, int32_t *items, int32_t *work);

/* For tests: overwrite every output buffer with 0xA5 and forget which padding is in place. */
GDN_API void gdn_builder_poison(gdn_builder *b);

#if !defined(GDNMETA_CDEF) && defined(__cplusplus)
}
#endif
#endif
