/* Runs of blocks: a list of pages per node, dense between the start in its first page and the end in its last one. */
#include "scheduler/index.h"

#include <string.h>

static inline int64_t *ids_of(const gdn_index *x, int32_t page)
{
    return x->page_ids + (int64_t)page * PAGE_BLOCKS;
}

static inline int32_t *kv_of(const gdn_index *x, int32_t page, int32_t place)
{
    return x->page_kv + ((int64_t)page * PAGE_BLOCKS + place) * x->config.kv_per_block;
}

static void copy_kv(const gdn_index *x, int32_t *to, const int32_t *from, int32_t blocks)
{
    if (x->config.kv_per_block) memcpy(to, from, (size_t)blocks * (size_t)x->config.kv_per_block * sizeof *to);
}

static int32_t take_page(gdn_index *x)
{
    int32_t page = x->free_page;
    if (page >= 0)
        x->free_page = x->page_next[page];
    else
        page = x->top_page++;
    x->page_next[page] = -1;
    return page;
}

static int32_t page_at(const gdn_index *x, int32_t page, int32_t pages)
{
    while (pages-- > 0) page = x->page_next[page];
    return page;
}

/* A later page is fetched early: after many evictions the pages of a run are scattered over the arena. */
int32_t gdn_run_match(const gdn_index *x, const node *p, const int64_t *ids, int32_t n)
{
    int32_t page = p->page, ahead = p->page, done = 0, place = p->start;
    if (n > p->length) n = p->length;
    for (int k = 0; k < 3 && ahead >= 0; k++) ahead = x->page_next[ahead];
    while (done < n) {
        int32_t here = PAGE_BLOCKS - place < n - done ? PAGE_BLOCKS - place : n - done;
        const int64_t *mine = ids_of(x, page) + place;
        if (ahead >= 0) {
            __builtin_prefetch(ids_of(x, ahead));
            __builtin_prefetch(ids_of(x, ahead) + PAGE_BLOCKS / 2);
            ahead = x->page_next[ahead];
        }
        if (memcmp(mine, ids + done, (size_t)here * sizeof *ids) != 0) {
            while (*mine == ids[done]) mine++, done++;
            return done;
        }
        done += here;
        place = 0;
        page = x->page_next[page];
    }
    return done;
}

void gdn_run_append(gdn_index *x, node *p, const int64_t *ids, const int32_t *kv, int32_t n)
{
    for (int32_t done = 0, here; done < n; done += here) {
        int32_t place = (p->start + p->length) % PAGE_BLOCKS;
        if (p->length == 0) {
            p->page = p->last_page = take_page(x);
            p->start = place = 0;
        } else if (place == 0) {
            int32_t page = take_page(x);
            x->page_next[p->last_page] = page;
            p->last_page = page;
        }
        here = PAGE_BLOCKS - place < n - done ? PAGE_BLOCKS - place : n - done;
        memcpy(ids_of(x, p->last_page) + place, ids + done, (size_t)here * sizeof *ids);
        if (kv) copy_kv(x, kv_of(x, p->last_page, place), kv + (int64_t)done * x->config.kv_per_block, here);
        p->length += here;
    }
}

/* The page at the cut goes to upper; lower's part of it is copied to a new page, to the same places. */
void gdn_run_cut(gdn_index *x, node *upper, node *lower, int32_t at)
{
    int32_t end = lower->start + at, place = end % PAGE_BLOCKS;
    int32_t before = page_at(x, lower->page, (end - 1) / PAGE_BLOCKS); /* the last one with blocks of upper */
    int32_t next = x->page_next[before];
    upper->page = lower->page;
    upper->start = lower->start;
    upper->length = at;
    upper->last_page = before;
    if (place) {
        int32_t copy = take_page(x);
        memcpy(ids_of(x, copy) + place, ids_of(x, before) + place, (size_t)(PAGE_BLOCKS - place) * sizeof(int64_t));
        copy_kv(x, kv_of(x, copy, place), kv_of(x, before, place), PAGE_BLOCKS - place);
        x->page_next[copy] = next;
        if (lower->last_page == before) lower->last_page = copy;
        next = copy;
    }
    x->page_next[before] = -1;
    lower->page = next;
    lower->start = place;
    lower->length -= at;
}

void gdn_run_read(const gdn_index *x, const node *p, int32_t first, int32_t n, int64_t *ids, int32_t *kv)
{
    int32_t from = p->start + first, place = from % PAGE_BLOCKS;
    int32_t page = n > 0 ? page_at(x, p->page, from / PAGE_BLOCKS) : -1;
    for (int32_t done = 0, here; done < n; done += here) {
        here = PAGE_BLOCKS - place < n - done ? PAGE_BLOCKS - place : n - done;
        if (ids) memcpy(ids + done, ids_of(x, page) + place, (size_t)here * sizeof *ids);
        if (kv) copy_kv(x, kv + (int64_t)done * x->config.kv_per_block, kv_of(x, page, place), here);
        place = 0;
        page = x->page_next[page];
    }
}

/* Pages of the tail are freed at once: their list goes in front of the free ones. */
void gdn_run_shorten(gdn_index *x, node *p, int32_t length, int32_t *kv)
{
    if (kv && x->config.kv_per_block) gdn_run_read(x, p, length, p->length - length, NULL, kv);
    int32_t gone = p->page, last = p->last_page;
    if (length > 0) {
        int32_t keep = page_at(x, p->page, (p->start + length - 1) / PAGE_BLOCKS);
        gone = x->page_next[keep];
        x->page_next[keep] = -1;
        p->last_page = keep;
    } else {
        p->page = p->last_page = -1;
    }
    p->length = length;
    if (gone < 0) return;
    x->page_next[last] = x->free_page;
    x->free_page = gone;
}
