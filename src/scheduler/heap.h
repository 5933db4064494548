/* What the index of a prefix cache needs of a heap besides gdnmeta_scheduler.h: looks that take nothing out. */
#ifndef GDN_HEAP_H
#define GDN_HEAP_H

#include "gdnmeta_prefix_index.h"

enum { GDN_HEAP_MAX_LOOK = GDN_INDEX_MAX_BATCH };

/* The first of the queue, in order, at most n of them (<= GDN_HEAP_MAX_LOOK). Returns how many. O(n log n). */
int32_t gdn_heap_look(const gdn_heap *h, int32_t n, int32_t *out);

/* Member number `at` (0 .. size - 1), in an order of no meaning that changes with the queue. */
int32_t gdn_heap_at(const gdn_heap *h, int32_t at);

#endif
