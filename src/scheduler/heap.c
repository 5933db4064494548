/* Order by key: a heap whose members can be moved and removed, and a stable sort. NaN comes last. */
#include "scheduler/heap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct gdn_heap {
    int32_t *ids;      /* [size] the heap itself */
    int32_t *place;    /* [capacity] index in ids and 1, 0: not a member */
    double *key, *tie; /* [capacity] by id */
    int32_t size, capacity;
};

static inline int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline double orderly(double key)
{
    return isnan(key) ? (double)INFINITY : key;
}

static inline int before(const gdn_heap *h, int32_t a, int32_t b)
{
    return h->key[a] != h->key[b] ? h->key[a] < h->key[b] : h->tie[a] < h->tie[b];
}

static inline void put(gdn_heap *h, int32_t at, int32_t id)
{
    h->ids[at] = id;
    h->place[id] = at + 1;
}

static void rise(gdn_heap *h, int32_t at, int32_t id)
{
    for (; at > 0 && before(h, id, h->ids[(at - 1) / 2]); at = (at - 1) / 2) put(h, at, h->ids[(at - 1) / 2]);
    put(h, at, id);
}

static void sink(gdn_heap *h, int32_t at, int32_t id)
{
    for (;;) {
        int32_t child = 2 * at + 1;
        if (child >= h->size) break;
        if (child + 1 < h->size && before(h, h->ids[child + 1], h->ids[child])) child++;
        if (!before(h, h->ids[child], id)) break;
        put(h, at, h->ids[child]);
        at = child;
    }
    put(h, at, id);
}

static void settle(gdn_heap *h, int32_t at, int32_t id)
{
    if (at > 0 && before(h, id, h->ids[(at - 1) / 2]))
        rise(h, at, id);
    else
        sink(h, at, id);
}

gdn_status gdn_heap_new(int32_t capacity, gdn_heap **out)
{
    if (capacity < 1 || !out) return GDN_EINVAL;
    gdn_heap *h = calloc(1, sizeof *h);
    if (!h) return GDN_ENOMEM;
    if (gdn_heap_reserve(h, capacity)) {
        gdn_heap_free(h);
        return GDN_ENOMEM;
    }
    *out = h;
    return GDN_OK;
}

void gdn_heap_free(gdn_heap *h)
{
    if (!h) return;
    free(h->ids);
    free(h->place);
    free(h->key);
    free(h->tie);
    free(h);
}

/* What is larger already is still right when a later array finds no memory. */
gdn_status gdn_heap_reserve(gdn_heap *h, int32_t capacity)
{
    if (!h) return GDN_EINVAL;
    if (capacity <= h->capacity) return GDN_OK;
    size_t n = (size_t)capacity;
    void *grown;
    if (!(grown = realloc(h->ids, n * sizeof *h->ids))) return GDN_ENOMEM;
    h->ids = grown;
    if (!(grown = realloc(h->place, n * sizeof *h->place))) return GDN_ENOMEM;
    h->place = grown;
    if (!(grown = realloc(h->key, n * sizeof *h->key))) return GDN_ENOMEM;
    h->key = grown;
    if (!(grown = realloc(h->tie, n * sizeof *h->tie))) return GDN_ENOMEM;
    h->tie = grown;
    for (int32_t id = h->capacity; id < capacity; id++) h->place[id] = 0;
    h->capacity = capacity;
    return GDN_OK;
}

static int is_member(const gdn_heap *h, int32_t id)
{
    return h && id >= 0 && id < h->capacity && h->place[id];
}

gdn_status gdn_heap_set(gdn_heap *h, int32_t id, double key, double tie)
{
    if (!h || id < 0 || id >= h->capacity) return GDN_EINVAL;
    h->key[id] = orderly(key);
    h->tie[id] = orderly(tie);
    if (h->place[id])
        settle(h, h->place[id] - 1, id);
    else
        rise(h, h->size++, id);
    return GDN_OK;
}

int32_t gdn_heap_remove(gdn_heap *h, int32_t id)
{
    if (!is_member(h, id)) return 0;
    int32_t at = h->place[id] - 1, last = h->ids[--h->size];
    h->place[id] = 0;
    if (last != id) settle(h, at, last);
    return 1;
}

int32_t gdn_heap_first(const gdn_heap *h)
{
    return h && h->size ? h->ids[0] : -1;
}

int32_t gdn_heap_size(const gdn_heap *h)
{
    return h ? h->size : 0;
}

double gdn_heap_key(const gdn_heap *h, int32_t id)
{
    return is_member(h, id) ? h->key[id] : (double)INFINITY;
}

void gdn_heap_clear(gdn_heap *h)
{
    if (!h) return;
    for (int32_t i = 0; i < h->size; i++) h->place[h->ids[i]] = 0;
    h->size = 0;
}

/* Best first: the frontier, itself a heap of places, holds the children of those that were given out. */
int32_t gdn_heap_look(const gdn_heap *h, int32_t n, int32_t *out)
{
    int32_t frontier[GDN_HEAP_MAX_LOOK + 2], size = 0, given = 0;
    if (n > GDN_HEAP_MAX_LOOK) n = GDN_HEAP_MAX_LOOK;
    if (h->size > 0) frontier[size++] = 0;
    while (given < n && size > 0) {
        int32_t place = frontier[0], last = frontier[--size], at = 0;
        for (int32_t child; (child = 2 * at + 1) < size; at = child) {
            if (child + 1 < size && before(h, h->ids[frontier[child + 1]], h->ids[frontier[child]])) child++;
            if (!before(h, h->ids[frontier[child]], h->ids[last])) break;
            frontier[at] = frontier[child];
        }
        frontier[at] = last;
        out[given++] = h->ids[place];
        for (int32_t next = 2 * place + 1; next <= 2 * place + 2 && next < h->size; next++) {
            for (at = size++; at > 0 && before(h, h->ids[next], h->ids[frontier[(at - 1) / 2]]); at = (at - 1) / 2)
                frontier[at] = frontier[(at - 1) / 2];
            frontier[at] = next;
        }
    }
    return given;
}

int32_t gdn_heap_at(const gdn_heap *h, int32_t at)
{
    return h->ids[at];
}

/* Merges runs of width 1, 2, 4, ... back and forth; the left run wins ties, which makes it stable. */
void gdn_sort_by_key(int32_t n, const double *keys, int32_t *items, int32_t *work)
{
    if (!keys || !items || !work) return;
    int32_t *from = items, *to = work;
    for (int64_t width = 1; width < n; width *= 2) {
        for (int64_t left = 0; left < n; left += 2 * width) {
            int64_t middle = least(left + width, n), end = least(middle + width, n);
            int64_t a = left, b = middle;
            for (int64_t k = left; k < end; k++) {
                int take_left = a < middle && (b >= end || !(orderly(keys[from[b]]) < orderly(keys[from[a]])));
                to[k] = take_left ? from[a++] : from[b++];
            }
        }
        int32_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != items) memcpy(items, from, (size_t)(n > 0 ? n : 0) * sizeof *items);
}
