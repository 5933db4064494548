/* Nodes of the index: the table that finds children, splits, and nearest ancestors with a state. */
#include "scheduler/index.h"

#include <math.h>
#include <string.h>

/* Where an entry is looked for first: its lower bits. */
static uint32_t hash(int32_t parent, int64_t id)
{
    uint64_t h = ((uint64_t)id ^ (uint64_t)parent * 0x9E3779B97F4A7C15u) * 0xBB67AE8584CAA73Bu;
    return (uint32_t)(h >> 32);
}

static uint32_t hash_of(const gdn_index *x, int32_t i)
{
    return hash(x->nodes[i].parent, x->nodes[i].first_id);
}

static void table_put(gdn_index *x, int32_t i)
{
    uint32_t h = hash_of(x, i), mask = (uint32_t)x->table_mask, at = h & mask;
    while (x->table[at].node) at = (at + 1) & mask;
    x->table[at] = (entry){ .node = i, .hash = h };
}

/* Later entries move up, unless that would put them before their home. */
static void table_remove(gdn_index *x, int32_t i)
{
    uint32_t mask = (uint32_t)x->table_mask, at = hash_of(x, i) & mask;
    while (x->table[at].node != i) at = (at + 1) & mask;
    for (uint32_t next = (at + 1) & mask; x->table[next].node; next = (next + 1) & mask) {
        if (((next - x->table[next].hash) & mask) < ((next - at) & mask)) continue;
        x->table[at] = x->table[next];
        at = next;
    }
    x->table[at].node = 0;
}

int32_t gdn_node_child(const gdn_index *x, int32_t parent, int64_t first_id)
{
    uint32_t h = hash(parent, first_id), mask = (uint32_t)x->table_mask, at = h & mask;
    for (int32_t i; (i = x->table[at].node) != 0; at = (at + 1) & mask)
        if (x->table[at].hash == h && x->nodes[i].first_id == first_id && x->nodes[i].parent == parent) return i;
    return NONE;
}

static void join(gdn_index *x, int32_t i, int32_t parent)
{
    node *p = &x->nodes[i], *above = &x->nodes[parent];
    p->parent = parent;
    p->prior = NONE;
    p->next = above->first_child;
    if (p->next) x->nodes[p->next].prior = i;
    above->first_child = i;
    above->children++;
    table_put(x, i);
}

static void part(gdn_index *x, int32_t i)
{
    node *p = &x->nodes[i], *above = &x->nodes[p->parent];
    table_remove(x, i);
    above->children--;
    if (p->prior)
        x->nodes[p->prior].next = p->next;
    else
        above->first_child = p->next;
    if (p->next) x->nodes[p->next].prior = p->prior;
}

int32_t gdn_node_take(gdn_index *x, int32_t parent, int64_t first_id)
{
    int32_t i = x->free_node;
    if (i)
        x->free_node = x->nodes[i].next;
    else
        i = x->top_node++;
    node *p = &x->nodes[i];
    int32_t is_fresh = p->is_fresh;
    memset(p, 0, sizeof *p);
    p->is_fresh = is_fresh;
    p->used = 1;
    p->serial = ++x->serial;
    p->first_id = first_id;
    p->depth = x->nodes[parent].depth;
    p->page = p->last_page = -1;
    p->mark = -1;
    p->created = p->last_use = p->state_use = x->now;
    p->wait[LINK_LEAF].value = p->wait[LINK_STATE].value = (double)NAN;
    for (int32_t g = 0; g < x->config.num_groups; g++) gdn_node_slots(x, i)[g] = -1;
    x->stats.nodes++;
    join(x, i, parent);
    return i;
}

void gdn_node_leave(gdn_index *x, int32_t i)
{
    gdn_wait_leave(x, i, LINK_LEAF);
    gdn_wait_leave(x, i, LINK_STATE);
    part(x, i);
    x->nodes[i].used = 0;
    x->nodes[i].next = x->free_node;
    x->free_node = i;
    x->stats.nodes--;
}

void gdn_node_fetch_around(const gdn_index *x, int32_t i)
{
    const node *p = &x->nodes[i];
    if (i == NONE) return;
    __builtin_prefetch(&x->table[hash_of(x, i) & (uint32_t)x->table_mask], 1);
    __builtin_prefetch(&x->nodes[p->prior].next, 1);
    __builtin_prefetch(&x->nodes[p->next].prior, 1);
    __builtin_prefetch(gdn_node_slots(x, i), 1);
    if (p->page >= 0) __builtin_prefetch(&x->page_next[p->page]);
    if (p->last_page >= 0) __builtin_prefetch(&x->page_next[p->last_page], 1);
}

/* The lower part stays node i: it has the state, the locks and the pins that end here. */
int32_t gdn_node_split(gdn_index *x, int32_t i, int32_t at)
{
    node *lower = &x->nodes[i];
    int32_t parent = lower->parent;
    part(x, i);
    int32_t u = gdn_node_take(x, parent, lower->first_id);
    node *upper = &x->nodes[u];
    gdn_run_cut(x, upper, lower, at);
    upper->depth += at;
    upper->born = lower->born;
    upper->seen = lower->seen < at ? lower->seen : at;
    lower->seen -= upper->seen;
    upper->refs = lower->refs;
    upper->pins_below = lower->pins_below;
    upper->wait[LINK_LEAF].order = lower->wait[LINK_LEAF].order;
    upper->hits = lower->hits;
    upper->passes = lower->hits;
    upper->mark = lower->mark;
    upper->created = lower->created;
    upper->last_use = lower->last_use;
    upper->jump = lower->jump;
    upper->jump_tree = lower->jump_tree;
    gdn_run_read(x, lower, 0, 1, &lower->first_id, NULL);
    join(x, i, u);
    return u;
}

/* Jumps over nodes without a state, and remembers how far. Such a jump stays right when a state is dropped; a state
 * that is added above others makes all jumps old (x->tree). */
int32_t gdn_node_above(gdn_index *x, int32_t i)
{
    int32_t at = x->nodes[i].jump_tree == x->tree + 1 ? x->nodes[i].jump : x->nodes[i].parent;
    while (at != ROOT && !gdn_has_state(x, &x->nodes[at])) {
        const node *p = &x->nodes[at];
        at = p->jump_tree == x->tree + 1 ? p->jump : p->parent;
    }
    for (int32_t k = i, next; k != ROOT && k != at; k = next) {
        node *p = &x->nodes[k];
        next = p->jump_tree == x->tree + 1 ? p->jump : p->parent;
        p->jump = at;
        p->jump_tree = x->tree + 1;
    }
    return at;
}

gdn_status gdn_node_check(gdn_index *x, int32_t i, const char *what)
{
    if (i < 1 || i > x->config.max_nodes || !x->nodes[i].used)
        GDN_REFUSE(&x->error, "%s = %d, want a node of the index", what, i);
    return GDN_OK;
}
