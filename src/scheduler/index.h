/* Internals of a prefix cache's index: a tree of runs of blocks, and the candidates for eviction. */
#ifndef GDN_INDEX_H
#define GDN_INDEX_H

#include "base/status.h"
#include "gdnmeta_prefix_index.h"
#include "scheduler/heap.h"

enum { ROOT = 0, NONE = 0 }; /* nodes point to the root as their parent alone, so that 0 is also "none" */
enum { PAGE_BLOCKS = 16 };

/* A node's place among the candidates for eviction. */
enum { OUT = 0, USED, RATED };
/* A node is a candidate twice at most: for its blocks, and for its state in one place. */
enum { LINK_LEAF = 0, LINK_STATE = 1 };

typedef struct waiting {
    double value, order; /* NaN: not rated; order of use */
    int32_t before, after; /* among USED */
    int32_t where;
} waiting;

typedef struct node {
    int64_t first_id;
    int64_t born;        /* step in which blocks from `seen` on were published */
    int64_t state_born;
    int64_t placed;      /* step in which its state came where it is: seen from the next one on */
    int64_t serial;      /* of all nodes, no two have the same: numbers are used again */
    double last_use, created, state_use;
    waiting wait[2];
    int32_t parent, first_child, next, prior; /* next, prior: of the same parent */
    int32_t page, last_page, start; /* its blocks are from place `start` of its first page on */
    int32_t length, depth, seen;    /* seen: blocks that were there before step `born` */
    int32_t children;
    int32_t refs, ends, state_refs; /* locks through it, and those of them that end here; readers of its state */
    int32_t pins, pins_below;       /* pins_below: on it or behind it */
    int32_t hits, state_hits, passes, mark;
    int32_t num_states, place;
    int32_t jump;        /* an ancestor; no node between has a state in all groups, in tree `jump_tree` */
    int64_t jump_tree;
    int32_t used;        /* 0: free, and `next` is the next free one */
    int32_t is_fresh;    /* stands in the list of this step */
} node;

/* The hash stands beside the node, so that a look at others' nodes, which are anywhere in memory, is rare. */
typedef struct entry {
    int32_t node; /* 0: empty */
    uint32_t hash;
} entry;

/* The candidates of one kind: a list by use, and a queue by value. */
typedef struct line {
    gdn_heap *rated;
    int32_t oldest, newest, num_used; /* the list */
    int32_t turn;                     /* of those rated: where the last batch stopped looking */
} line;

struct gdn_index {
    gdn_index_config config;
    void *arena;
    node *nodes;          /* [max_nodes + 1] */
    int32_t *slots;       /* [max_nodes + 1, num_groups] -1: none */
    entry *table;         /* [table_size] node by parent and first id */
    int32_t *fresh;       /* [max_nodes + 1] nodes of this step */
    int32_t *seen_in;     /* [max_nodes + 1] number of the batch that a node was last in */
    int64_t *page_ids;    /* [max_pages, PAGE_BLOCKS] */
    int32_t *page_kv;     /* [max_pages, PAGE_BLOCKS, kv_per_block] */
    int32_t *page_next;   /* [max_pages] -1: the last; of free ones likewise */
    line lines[3];
    int64_t step, order, serial, tree; /* tree: counts states that were added above others */
    double now;
    int32_t table_mask, batch;
    int32_t live_locks, live_pins; /* of all nodes: no count of one node passes them */
    int32_t free_node, fresh_nodes; /* free_node: 0 none; then those never used yet, from top_node on */
    int32_t top_node;
    int32_t free_page, top_page, max_pages;
    gdn_index_stats stats;
    gdn_error error;
};

/* ---- pages ---- */
int32_t gdn_pages_needed(int32_t start, int32_t length);
int32_t gdn_run_match(const gdn_index *x, const node *p, const int64_t *ids, int32_t n); /* equal blocks */
void gdn_run_append(gdn_index *x, node *p, const int64_t *ids, const int32_t *kv, int32_t n);
void gdn_run_cut(gdn_index *x, node *upper, node *lower, int32_t at); /* lower's run: [0, at) goes to upper */
void gdn_run_shorten(gdn_index *x, node *p, int32_t length, int32_t *kv); /* kv of what goes; NULL: not wanted */
void gdn_run_read(const gdn_index *x, const node *p, int32_t first, int32_t n, int64_t *ids, int32_t *kv);

/* ---- nodes ---- */
int32_t gdn_node_take(gdn_index *x, int32_t parent, int64_t first_id); /* joins the tree; there must be room */
void gdn_node_leave(gdn_index *x, int32_t i);                          /* has neither children nor blocks */
int32_t gdn_node_child(const gdn_index *x, int32_t parent, int64_t first_id);
int32_t gdn_node_split(gdn_index *x, int32_t i, int32_t at); /* returns the new node, with blocks [0, at) */
int32_t gdn_node_above(gdn_index *x, int32_t i);             /* the nearest ancestor with a state; else the root */
gdn_status gdn_node_check(gdn_index *x, int32_t i, const char *what); /* is it one, and not the root? */
void gdn_node_fetch_around(const gdn_index *x, int32_t i);             /* what is read where it leaves */

static inline int32_t *gdn_node_slots(const gdn_index *x, int32_t i)
{
    return x->slots + (int64_t)i * x->config.num_groups;
}

static inline int gdn_has_state(const gdn_index *x, const node *p)
{
    return p->num_states > 0 && p->num_states == x->config.num_groups;
}

/* A node is anywhere in memory. */
static inline void gdn_node_fetch(const gdn_index *x, int32_t i)
{
    const char *at = (const char *)&x->nodes[i];
    for (size_t k = 0; k < sizeof(node); k += 64) __builtin_prefetch(at + k, 1);
}

/* Blocks that are visible in this step. */
static inline int32_t gdn_seen(const gdn_index *x, const node *p)
{
    return p->born == x->step ? p->seen : p->length;
}

/* ---- publishing ---- */
typedef struct gdn_index_need {
    int32_t nodes, blocks; /* nodes: -1 where something else was refused */
} gdn_index_need;
/* gdn_index_publish, which writes no message where nodes or blocks are lacking: callers who make room then. */
gdn_status gdn_index_add(gdn_index *x, const int64_t *ids, int32_t n, const int32_t *kv, const int32_t *slots,
                         int32_t from, int32_t move, int32_t mark, gdn_index_published *out, gdn_index_need *need);

/* ---- leaving ---- */
gdn_status gdn_evict_check(gdn_index *x, int32_t i, int32_t most, const int32_t *kv); /* gdn_index_evict refuses? */

/* ---- candidates for eviction ---- */
enum { USED_LEAF = 1, USED_STATE = 2, PASSED_STATE = 4 };
/* Puts a node where it belongs, takes it out of the other lists and queues. used: USED_LEAF, USED_STATE: just now.
 * PASSED_STATE: a prompt went through, which may change the value of its state, but not when that was used. */
void gdn_wait_update(gdn_index *x, int32_t i, int used);
void gdn_wait_rate(gdn_index *x, int32_t i, int link, double value); /* of one that waits; nothing where it does not */
void gdn_wait_leave(gdn_index *x, int32_t i, int link);
void gdn_wait_fresh(gdn_index *x, int32_t i); /* it is of this step, and waits from the next one on */

#endif
