/* gdnmeta_prefix_index.h - which prompts begin alike: ids of their blocks, and the index of a prefix cache. Only
 * schedulers need it; the conventions of gdnmeta.h hold here. */
#ifndef GDNMETA_PREFIX_INDEX_H
#define GDNMETA_PREFIX_INDEX_H

#include "gdnmeta_scheduler.h"

#if !defined(GDNMETA_CDEF) && defined(__cplusplus)
extern "C" {
#endif

/* ---- Identity of prompts ---- */

/* A block is `size` tokens. Its id, 0 .. 2^53 - 1, stands for all tokens from the start of the prompt to its end.
 * Every function gives such ids, so that Lua's numbers hold them. Without the salt nobody can tell which
 * tokens have which id: tenants with different salts share nothing. */
GDN_API int64_t gdn_hash_bytes(GDN_NULL_OK const void *bytes, int64_t n, int64_t salt); /* NULL: no bytes */

/* Ids of the full blocks of tokens[n] into out[n / size]; what follows the last full block is left out. `previous`
 * is the id of the block before, -1 at the start of a prompt: a prompt may be hashed piece by piece. */
GDN_API gdn_status gdn_hash_blocks(const int32_t *tokens, int64_t n, int32_t size, int64_t salt, int64_t previous,
                                   int64_t *out);

/* Turns ids of single blocks into ids that cover everything before, too: out[i] covers ids[0 .. i]. out may be ids. */
GDN_API gdn_status gdn_hash_chain(const int64_t *ids, int64_t n, int64_t salt, int64_t previous, int64_t *out);

/* ---- Index of a prefix cache ----
 * A radix tree over ids of blocks. A node is a run of blocks, of which its parent's are the prefix; at its end there
 * may be a state: one slot per cache group. Node 0 is the root, the empty prefix. The index owns no memory of states or
 * of attention: it stores numbers of slots and of attention blocks, and gives them back when they leave.
 *
 * A step:      gdn_index_advance(x, now)
 * A request:   gdn_index_match(x, ids, n, prompt - 1, &hit), then gdn_index_lock(x, &hit): its path, hit.node, and the
 *              state that it reads, hit.state_node, stay. gdn_index_unlock_state once the state was read,
 *              gdn_index_unlock at the end.
 * Later:       gdn_index_publish, with slots where a state is kept. What is published is seen from the next
 *              gdn_index_advance on, and is not evicted before.
 * Room:        gdn_index_candidates gives a batch to be valued, gdn_index_rate stores the values, gdn_index_first is
 *              the least of all; gdn_index_drop_state, gdn_index_move_state or gdn_index_evict takes it away.
 *
 * Memory is taken by gdn_index_new alone. A refused call changes nothing, and gdn_index_error says why. A node's
 * number is good while the node is locked or pinned, else until something is evicted. */
typedef struct gdn_index gdn_index;

typedef struct gdn_index_config {
    uint32_t size;        /* sizeof(gdn_index_config) */
    int32_t num_groups;   /* slots of a state, 0 .. 64 */
    int32_t block_size;   /* tokens a block, 1 .. 2^20 */
    int32_t kv_per_block; /* numbers of attention blocks that a block carries, 0 .. 1024 */
    int32_t max_nodes;    /* without the root, 1 .. 2^26 */
    int32_t max_blocks;   /* of all nodes, 1 .. 2^30 */
    int64_t kv_bytes;     /* attention cache of a block, for what is reported; 0 .. 2^40 */
    int64_t state_bytes;  /* a state with all its groups, likewise */
} gdn_index_config;

/* Candidates for eviction. */
enum {
    GDN_INDEX_LEAVES = 0, /* nodes without children, locks and pins */
    GDN_INDEX_STATES = 1, /* nodes with a state on the device that nobody reads and no pin keeps */
    GDN_INDEX_HOST = 2    /* likewise, states that were moved to the host */
};
enum { GDN_INDEX_DEVICE = 0, GDN_INDEX_ON_HOST = 1 }; /* where the slots of a state are */
enum { GDN_INDEX_MAX_BATCH = 256 };

typedef struct gdn_index_hit {
    double kv_tokens;      /* the blocks that are there, in tokens: as Lua counts, without garbage */
    double state_tokens;   /* the longest prefix with a state on the device, in all groups */
    double host_tokens;    /* likewise on the host, where that is longer; else 0 */
    double junction;       /* kv_tokens where a state there would have helped: none is; else 0 */
    int32_t kv_hit, state_hit, host_hit; /* the same three in blocks */
    int32_t node;          /* where the match ends, in it or at its end; 0: no match */
    int32_t state_node, host_node;       /* whose state; 0: none */
    int32_t num_blocks;    /* n */
    int32_t num_nodes;     /* on the path */
} gdn_index_hit;

/* What a match depends on. */
typedef struct gdn_index_watch {
    int64_t next_id;       /* the block after the match; -1: it went as far as it may */
    int64_t serial, step;  /* of the node, and of the match */
    int32_t node;          /* where the match ends */
    int32_t kv_hit;
    int32_t state_node, host_node; /* the last states on the way, on the device and on the host after it; 0: none */
} gdn_index_watch;

typedef struct gdn_index_published {
    int32_t node;          /* which ends with the path */
    int32_t known;         /* blocks that were there; kv of those after it are now the index's */
    int32_t added;         /* blocks that were not */
    int32_t state_taken;   /* 1: slots are now the index's; 0: none given, or a state is there */
} gdn_index_published;

typedef struct gdn_index_node {
    double last_use, created;   /* `now` of gdn_index_advance: of the last (un)lock through it, of its first blocks */
    double state_use;           /* of the last lock that read its state, or of the state itself */
    double leaf_value, state_value; /* as last rated; NaN: not yet */
    double tokens;              /* from the start to its end */
    double kv_bytes, state_bytes;
    double parent_gap;          /* tokens from the nearest ancestor with a state, or from the start, to its end */
    int32_t parent, first_child, next; /* next: of the same parent; 0: none */
    int32_t depth, length;      /* blocks to its end, and its own */
    int32_t children, refs, state_refs, pins; /* refs: locks through it; state_refs: locks that read its state */
    int32_t hits, state_hits;   /* locks through it so far, and those that read its state */
    int32_t passes;             /* locks by prompts with further full blocks: > 0 is superseded */
    int32_t mark;               /* of the last publisher, -1: none */
    int32_t num_states;         /* groups that have a slot */
    int32_t place;              /* GDN_INDEX_DEVICE or ON_HOST */
    int32_t leaf_is_new, state_is_new; /* 1: locked since it was last rated, or not rated yet */
    int32_t reserved;
} gdn_index_node;

typedef struct gdn_index_stats {
    int64_t matches, locks, state_hits;                 /* state_hits: locks that read a state */
    int64_t blocks_published, states_published;
    int64_t states_used, states_unused;   /* of those that left: read at least once, never read */
    int64_t states_moved;
    int64_t blocks_evicted, nodes_evicted, states_evicted;
    double kv_bytes, state_bytes;         /* now, states on the device */
    int32_t nodes, blocks, states, host_states, leaves; /* now; leaves: those that wait to be evicted */
    int32_t max_nodes, max_blocks;
    int32_t pinned_blocks, pinned_states; /* that pins keep from being evicted */
    int32_t peak_blocks;
} gdn_index_stats;

GDN_API gdn_status gdn_index_new(const gdn_index_config *config, GDN_OWN gdn_index **out, GDN_NULL_OK char *why,
                                 size_t why_size);
GDN_API void gdn_index_free(GDN_OWN GDN_NULL_OK gdn_index *x);
GDN_API const char *gdn_index_error(const gdn_index *x); /* of the last refusal; borrowed until the next call */
GDN_API gdn_status gdn_index_advance(gdn_index *x, double now); /* a step begins; now is only stored */

/* The longest match of ids[n] within `limit` tokens, prompt - 1 for a whole prompt. O(blocks); only counts. */
GDN_API gdn_status gdn_index_match(gdn_index *x, const int64_t *ids, int32_t n, int64_t limit, gdn_index_hit *out);

/* For one who waits: what a match of the same ids, n and limit found, before anything else is called. Later, and in a
 * later step: 1 where a match may find something else, 0 where it finds the same. O(1), but for splits. */
GDN_API gdn_status gdn_index_watch_hit(gdn_index *x, const int64_t *ids, int32_t n, int64_t limit,
                                       const gdn_index_hit *hit, gdn_index_watch *out);
GDN_API int32_t gdn_index_has_changed(gdn_index *x, const gdn_index_watch *watch); /* negative: a gdn_status */
/* The same for a queue: from `first` on along next[], a negative number ends it, at most `most` of them. Those into
 * out[most] for whom a match may find something else, in the order of the queue: watches[i] says so, or sought[i], the
 * blocks of their last match, -1: none yet, is not num_ids[i]. NULL: nobody was matched. Returns how many; negative: a
 * gdn_status. */
GDN_API int32_t gdn_index_list_changed(gdn_index *x, GDN_NULL_OK const gdn_index_watch *watches, const int32_t *sought,
                                       const int32_t *num_ids, const int32_t *next, int32_t first, int32_t most,
                                       int32_t *out);

/* Takes what a match found, before anything else is called. The node is split where the match ends in it, and
 * hit->node, kv_hit, kv_tokens are then what is locked: less, where no node is left to split. A caller who wants
 * less lowers them to a state's: node = state_node, kv_hit = state_hit. Reads hit->state_node, or hit->host_node where
 * state_node is 0. */
GDN_API gdn_status gdn_index_lock(gdn_index *x, gdn_index_hit *hit);
GDN_API gdn_status gdn_index_unlock(gdn_index *x, int32_t node);       /* hit->node, or the node it was moved to */
GDN_API gdn_status gdn_index_unlock_state(gdn_index *x, int32_t node); /* hit->state_node */

/* ids[0 .. n-1] join the index. Blocks known already keep their kv; kv is [n][kv_per_block], of which only the
 * unknown blocks are read, NULL where kv_per_block is 0. slots[num_groups]: a state at the end, -1 where a group has
 * none; NULL: no state. `from` is a node on this path that the caller has locked, where the search starts, or 0.
 * With `move`, that lock moves to the node where the path ends; with from = 0 it is a new one. GDN_ECAP: no
 * room for nodes or blocks; at most two nodes are needed. */
GDN_API gdn_status gdn_index_publish(gdn_index *x, const int64_t *ids, int32_t n, GDN_NULL_OK const int32_t *kv,
                                     GDN_NULL_OK const int32_t *slots, int32_t from, int32_t move, int32_t mark,
                                     gdn_index_published *out);

/* Pins keep a node, its state, and the blocks before it. GDN_ECAP: more than max_blocks blocks or max_states states
 * would then be pinned; -1: no bound. */
GDN_API gdn_status gdn_index_pin(gdn_index *x, int32_t node, int32_t max_blocks, int32_t max_states);
GDN_API gdn_status gdn_index_unpin(gdn_index *x, int32_t node);

/* At most `most` (1 .. GDN_INDEX_MAX_BATCH) nodes of a kind into nodes, with the value last given into values, NaN
 * where a node has none. They are the least by value, those locked since they were rated (used longest ago first, up
 * to half of the batch), and a few of the others in turn, so that values that change by themselves come to be seen.
 * A lock uses all blocks on its path, and of the states on it the one that it reads.
 * Returns how many, 0: nothing waits. */
GDN_API int32_t gdn_index_candidates(gdn_index *x, int32_t kind, int32_t most, int32_t *nodes, double *values);
/* Values of candidates; NaN counts as infinity. Nodes that no longer wait are passed over. */
GDN_API gdn_status gdn_index_rate(gdn_index *x, int32_t kind, const int32_t *nodes, const double *values, int32_t n);
/* The one of the least value, of equal ones the one used longest ago; where none is rated, the one used longest
 * ago; 0: nothing waits. O(1). */
GDN_API int32_t gdn_index_first(const gdn_index *x, int32_t kind);

/* Takes a state away, into slots[num_groups] (-1: none); the node and its blocks stay. */
GDN_API gdn_status gdn_index_drop_state(gdn_index *x, int32_t node, int32_t *slots);
/* Gives a state other slots in another place: what it had into old[num_groups]. It is found there from the next
 * gdn_index_advance on, and waits there to be evicted at once, with the value that it had. */
GDN_API gdn_status gdn_index_move_state(gdn_index *x, int32_t node, int32_t place, const int32_t *slots, int32_t *old);
/* Takes the last `most` blocks of a leaf away, or the node with its state where these are all: kv of the blocks into
 * kv[most][kv_per_block] in their order, NULL where kv_per_block is 0, slots as above. Returns how many blocks went;
 * negative: a gdn_status. */
GDN_API int32_t gdn_index_evict(gdn_index *x, int32_t node, int32_t most, GDN_NULL_OK int32_t *kv, int32_t *slots);

/* For an engine, whose slots and blocks the index keeps: gdn_index_publish of the blocks in a row of kv (NULL: none),
 * with move; what joins has one holder more, blocks and slots[num_groups]. */
GDN_API gdn_status gdn_index_join(gdn_index *x, const int64_t *ids, int32_t n, GDN_NULL_OK gdn_kv *kv, int32_t row,
                                  gdn_slots *pools, const int32_t *slots, int32_t from, gdn_index_published *out);
/* gdn_index_drop_state, or gdn_index_evict with `most` > 0 and room in kv_out[most][kv_per_block]; what
 * leaves has one holder less. Returns how many blocks went; negative: a gdn_status. */
GDN_API int32_t gdn_index_leave(gdn_index *x, int32_t node, int32_t most, GDN_NULL_OK gdn_kv *kv,
                                GDN_NULL_OK int32_t *kv_out, gdn_slots *pools);
/* The first in line leave, as gdn_index_leave has it: states until so many slots are free in each group, or leaves,
 * `most` blocks of one at a time, until so many blocks are. Returns how many times; negative: a gdn_status. */
GDN_API int32_t gdn_index_free_up(gdn_index *x, int32_t kind, int32_t wanted, int32_t most, GDN_NULL_OK gdn_kv *kv,
                                  GDN_NULL_OK int32_t *kv_out, gdn_slots *pools);
/* gdn_index_join of the state that stands in the tables from `at` on. Where it joins, it moves to place `to` as in
 * gdn_slots_move_each; to = -1: it stays. With most > 0 the first state in line leaves where no slot is free, and
 * leaves where the index has no room; else, or where nothing waits, GDN_ECAP, and nothing has joined. */
GDN_API gdn_status gdn_index_keep(gdn_index *x, const int64_t *ids, int32_t n, GDN_NULL_OK gdn_kv *kv, int32_t row,
                                  gdn_slots *pools, int32_t *const *tables, int64_t at, int64_t to, int32_t owner,
                                  int32_t from, int32_t most, GDN_NULL_OK int32_t *kv_out, gdn_index_published *out);

/* kv and ids of blocks first .. first + n - 1 of the path to a node's end; NULL: not wanted. */
GDN_API gdn_status gdn_index_read(const gdn_index *x, int32_t node, int32_t first, int32_t n,
                                  GDN_NULL_OK int64_t *ids, GDN_NULL_OK int32_t *kv);
GDN_API gdn_status gdn_index_slots(const gdn_index *x, int32_t node, int32_t *slots); /* a state's, [num_groups] */
GDN_API gdn_status gdn_index_describe(gdn_index *x, int32_t node, gdn_index_node *out);
GDN_API gdn_status gdn_index_describe_all(const gdn_index *x, gdn_index_stats *out);

/* For tests: recounts the index. O(nodes + blocks); GDN_EGUARD, with a message, if something disagrees. */
GDN_API gdn_status gdn_index_verify(gdn_index *x);

#if !defined(GDNMETA_CDEF) && defined(__cplusplus)
}
#endif
#endif
