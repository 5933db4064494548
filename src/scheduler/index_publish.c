/* Publishing: blocks that requests have computed, and states at their end, join the index. */
#include "scheduler/index.h"

#include <math.h>
#include <string.h>

enum { ID_BITS = 53 };

/* Where a path ends among the existing nodes. */
typedef struct place {
    int32_t above;  /* the last node that the path covers whole */
    int32_t inside; /* its child in which the path parts or ends; 0: none */
    int32_t at;     /* after how many blocks of that child */
    int32_t known;
} place;

static place find(const gdn_index *x, const int64_t *ids, int32_t n, int32_t from)
{
    place w = { .above = from, .known = x->nodes[from].depth };
    while (w.known < n) {
        int32_t child = gdn_node_child(x, w.above, ids[w.known]);
        if (child == NONE) break;
        int32_t same = gdn_run_match(x, &x->nodes[child], ids + w.known, n - w.known);
        w.known += same;
        if (same < x->nodes[child].length) {
            w.inside = child, w.at = same;
            break;
        }
        w.above = child;
    }
    return w;
}

/* A leaf may grow if only the lock that moves along ends at it, and nothing else marks its end. */
static int grows(const gdn_index *x, const place *w, int32_t from, int32_t move, int32_t mark)
{
    const node *p = &x->nodes[w->above];
    int others = p->refs > (move && w->above == from);
    return w->above != ROOT && !w->inside && !p->children && !p->num_states && !p->pins && !others && p->mark == mark;
}

static gdn_status check_from(gdn_index *x, int32_t n, int32_t from, int32_t move)
{
    if (from != ROOT) {
        gdn_status status = gdn_node_check(x, from, "from");
        if (status) return status;
    }
    if (x->nodes[from].depth > n)
        GDN_REFUSE(&x->error, "from = %d ends at block %d, want <= %d", from, x->nodes[from].depth, n);
    if (move && from != ROOT && !x->nodes[from].ends) GDN_REFUSE(&x->error, "from = %d has no lock to move", from);
    if (move && from == ROOT && x->live_locks == INT32_MAX)
        GDN_FAIL(&x->error, GDN_ECAP, "the index has 2^31 - 1 locks");
    return GDN_OK;
}

static gdn_status check(gdn_index *x, const int64_t *ids, int32_t n, const int32_t *slots, int32_t mark)
{
    if (!ids) GDN_REFUSE(&x->error, "ids is NULL");
    if (n < 1) GDN_REFUSE(&x->error, "n = %d, want >= 1", n);
    if (mark < -1) GDN_REFUSE(&x->error, "mark = %d, want >= -1", mark);
    int some = 0;
    for (int32_t g = 0; slots && g < x->config.num_groups; g++) {
        if (slots[g] < -1) GDN_REFUSE(&x->error, "slots[%d] = %d, want >= -1", g, slots[g]);
        some |= slots[g] >= 0;
    }
    if (slots && !some) GDN_REFUSE(&x->error, "slots has no slot, want one or more");
    return GDN_OK;
}

static gdn_status check_new(gdn_index *x, const int64_t *ids, int32_t n, const int32_t *kv, int32_t known)
{
    int32_t per = x->config.kv_per_block;
    for (int32_t k = known; k < n; k++)
        if (ids[k] < 0 || ids[k] >> ID_BITS)
            GDN_REFUSE(&x->error, "ids[%d] = %lld, want 0 .. 2^53 - 1", k, (long long)ids[k]);
    if (per && known < n && !kv) GDN_REFUSE(&x->error, "kv is NULL, want %d numbers a block", per);
    for (int64_t k = (int64_t)known * per; k < (int64_t)n * per; k++)
        if (kv[k] < 0) GDN_REFUSE(&x->error, "kv[%lld] = %d, want >= 0", (long long)k, kv[k]);
    return GDN_OK;
}

static void put_state(gdn_index *x, int32_t i, const int32_t *slots)
{
    node *p = &x->nodes[i];
    for (int32_t g = 0; g < x->config.num_groups; g++) p->num_states += slots[g] >= 0;
    memcpy(gdn_node_slots(x, i), slots, (size_t)x->config.num_groups * sizeof *slots);
    p->place = GDN_INDEX_DEVICE;
    p->state_born = p->placed = x->step;
    p->state_use = x->now;
    p->state_hits = p->passes = 0;
    p->wait[LINK_STATE].value = (double)NAN;
    if (p->children) x->tree++;
    x->stats.states++;
    x->stats.states_published++;
    x->stats.pinned_states += p->pins > 0;
}

static void add_blocks(gdn_index *x, int32_t i, const int64_t *ids, const int32_t *kv, int32_t known, int32_t n)
{
    node *p = &x->nodes[i];
    if (p->born != x->step) p->seen = p->length;
    p->born = x->step;
    gdn_run_append(x, p, ids + known, kv ? kv + (int64_t)known * x->config.kv_per_block : NULL, n - known);
    p->depth += n - known;
    p->last_use = x->now;
    x->stats.blocks += n - known;
    x->stats.blocks_published += n - known;
    if (x->stats.blocks > x->stats.peak_blocks) x->stats.peak_blocks = x->stats.blocks;
}

static void move_lock(gdn_index *x, int32_t from, int32_t to)
{
    if (from != ROOT)
        x->nodes[from].ends--;
    else
        x->live_locks++;
    x->nodes[to].ends++;
    for (int32_t at = to; at != from; at = x->nodes[at].parent) {
        x->nodes[at].refs++;
        gdn_wait_update(x, at, 0);
    }
}

gdn_status gdn_index_add(gdn_index *x, const int64_t *ids, int32_t n, const int32_t *kv, const int32_t *slots,
                         int32_t from, int32_t move, int32_t mark, gdn_index_published *out, gdn_index_need *need)
{
    if (!x) return GDN_EINVAL;
    need->nodes = -1;
    if (!out) GDN_REFUSE(&x->error, "out is NULL");
    gdn_status status = check(x, ids, n, slots, mark);
    if (!status) status = check_from(x, n, from, move);
    if (status) return status;
    place w = find(x, ids, n, from);
    status = check_new(x, ids, n, kv, w.known);
    if (status) return status;
    int growing = w.known < n && grows(x, &w, from, move, mark);
    int cut = w.inside && (w.known < n || slots || move), more = w.known < n && !growing;
    *need = (gdn_index_need){ .nodes = cut + more, .blocks = n - w.known };
    if (x->stats.nodes + need->nodes > x->config.max_nodes) return GDN_ECAP;
    if ((int64_t)x->stats.blocks + need->blocks > x->config.max_blocks) return GDN_ECAP;

    int32_t end = w.inside ? w.inside : w.above;
    if (cut) end = gdn_node_split(x, w.inside, w.at);
    if (more) {
        int32_t parent = end;
        end = gdn_node_take(x, parent, ids[w.known]);
        gdn_wait_update(x, parent, 0);
    }
    if (w.known < n) add_blocks(x, end, ids, kv, w.known, n);
    x->nodes[end].mark = mark;
    int taken = slots && !x->nodes[end].num_states;
    if (taken) put_state(x, end, slots);
    if (w.known < n || taken) gdn_wait_fresh(x, end);
    if (move) move_lock(x, from, end);
    *out = (gdn_index_published){ .node = end, .known = w.known, .added = n - w.known, .state_taken = taken };
    return GDN_OK;
}

gdn_status gdn_index_publish(gdn_index *x, const int64_t *ids, int32_t n, const int32_t *kv, const int32_t *slots,
                             int32_t from, int32_t move, int32_t mark, gdn_index_published *out)
{
    gdn_index_need need;
    gdn_status status = gdn_index_add(x, ids, n, kv, slots, from, move, mark, out, &need);
    if (status != GDN_ECAP || need.nodes < 0) return status;
    if (x->stats.nodes + need.nodes > x->config.max_nodes)
        GDN_FAIL(&x->error, GDN_ECAP, "%d nodes and %d more, want <= %d", x->stats.nodes, need.nodes,
                 x->config.max_nodes);
    GDN_FAIL(&x->error, GDN_ECAP, "%d blocks and %d more, want <= %d", x->stats.blocks, need.blocks,
             x->config.max_blocks);
}
