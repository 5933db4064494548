/* Recounts an index and compares, for tests. */
#include "scheduler/index.h"

#define WANT(condition, ...)                                                                                           \
    do {                                                                                                               \
        if (!(condition)) GDN_FAIL(&x->error, GDN_EGUARD, __VA_ARGS__);                                                \
    } while (0)

typedef struct sums {
    int64_t pages;
    int32_t nodes, blocks, states, host_states, pinned_blocks, pinned_states, waits[2];
} sums;

static gdn_status verify_run(gdn_index *x, int32_t i, sums *s)
{
    const node *p = &x->nodes[i];
    int32_t pages = 0, last = -1, page = p->page;
    int64_t first;
    for (; page >= 0 && pages <= x->max_pages; page = x->page_next[page]) pages++, last = page;
    WANT(p->length > 0, "node %d has no blocks", i);
    WANT(pages == (p->start + p->length + PAGE_BLOCKS - 1) / PAGE_BLOCKS, "node %d has %d pages", i, pages);
    WANT(last == p->last_page, "node %d ends in page %d, not %d", i, last, p->last_page);
    WANT(page == -1, "node %d ends in page %d with %d, not -1", i, last, page);
    gdn_run_read(x, p, 0, 1, &first, NULL);
    WANT(first == p->first_id, "node %d starts with another id", i);
    s->pages += pages;
    return GDN_OK;
}

static gdn_status verify_family(gdn_index *x, int32_t i)
{
    const node *p = &x->nodes[i];
    int64_t children = 0, refs = p->ends, pins = p->pins;
    int32_t prior = NONE;
    for (int32_t k = p->first_child; k && children <= x->config.max_nodes; prior = k, k = x->nodes[k].next) {
        WANT(x->nodes[k].used && x->nodes[k].parent == i, "node %d has a child %d of another parent", i, k);
        WANT(x->nodes[k].prior == prior, "node %d does not follow node %d", k, prior);
        WANT(x->nodes[k].depth == p->depth + x->nodes[k].length, "node %d is at depth %d", k, x->nodes[k].depth);
        WANT(gdn_node_child(x, i, x->nodes[k].first_id) == k, "node %d is not found below node %d", k, i);
        children++;
        refs += x->nodes[k].refs;
        pins += x->nodes[k].pins_below;
    }
    WANT(children == p->children, "node %d has %d children, not %d", i, (int)children, p->children);
    if (i == ROOT) return GDN_OK;
    WANT(refs >= p->ends && refs == p->refs, "node %d has %d locks, not %d", i, (int)refs, p->refs);
    WANT(pins == p->pins_below, "node %d has %d pins behind it, not %d", i, (int)pins, p->pins_below);
    return GDN_OK;
}

static gdn_status verify_state(gdn_index *x, int32_t i, sums *s)
{
    const node *p = &x->nodes[i];
    int32_t states = 0, above = p->parent;
    for (int32_t g = 0; g < x->config.num_groups; g++) states += gdn_node_slots(x, i)[g] >= 0;
    WANT(states == p->num_states, "node %d has %d slots, not %d", i, states, p->num_states);
    while (above != ROOT && !gdn_has_state(x, &x->nodes[above])) above = x->nodes[above].parent;
    WANT(gdn_node_above(x, i) == above, "node %d has its state above at node %d", i, above);
    int32_t device = states > 0 && p->place == GDN_INDEX_DEVICE;
    s->states += device;
    s->host_states += states > 0 && !device;
    s->pinned_states += device && p->pins;
    s->pinned_blocks += p->pins_below ? p->length : 0;
    return GDN_OK;
}

static gdn_status verify_waiting(gdn_index *x, int32_t i, sums *s)
{
    const node *p = &x->nodes[i];
    int leaf = !p->children && !p->refs && !p->state_refs && !p->pins && p->born != x->step && p->state_born != x->step;
    int state = p->num_states && !p->state_refs && !p->pins && p->state_born != x->step;
    WANT(leaf == (p->wait[LINK_LEAF].where != OUT), "node %d waits as a leaf: %d, want %d", i, !leaf, leaf);
    WANT(state == (p->wait[LINK_STATE].where != OUT), "node %d waits for its state: %d, want %d", i, !state, state);
    s->waits[0] += leaf;
    s->waits[1] += state;
    return GDN_OK;
}

static gdn_status verify_line(gdn_index *x, int32_t kind, int32_t *waits)
{
    const line *l = &x->lines[kind];
    int link = kind == GDN_INDEX_LEAVES ? LINK_LEAF : LINK_STATE;
    int32_t used = 0, before = NONE;
    for (int32_t i = l->oldest; i && used <= l->num_used; before = i, i = x->nodes[i].wait[link].after, used++) {
        WANT(x->nodes[i].used && x->nodes[i].wait[link].where == USED, "node %d is in the list of kind %d", i, kind);
        WANT(x->nodes[i].wait[link].before == before, "node %d does not follow node %d", i, before);
    }
    WANT(used == l->num_used && before == l->newest, "the list of kind %d has %d nodes, not %d", kind, used,
         l->num_used);
    for (int32_t at = 0; at < gdn_heap_size(l->rated); at++) {
        int32_t i = gdn_heap_at(l->rated, at);
        WANT(x->nodes[i].used && x->nodes[i].wait[link].where == RATED, "node %d is in the queue of kind %d", i, kind);
    }
    *waits += used + gdn_heap_size(l->rated);
    return GDN_OK;
}

gdn_status gdn_index_verify(gdn_index *x)
{
    if (!x) return GDN_EINVAL;
    sums s = { 0 };
    gdn_status status = verify_family(x, ROOT);
    for (int32_t i = 1; i < x->top_node && !status; i++) {
        if (!x->nodes[i].used) continue;
        s.nodes++;
        s.blocks += x->nodes[i].length;
        status = verify_run(x, i, &s);
        if (!status) status = verify_family(x, i);
        if (!status) status = verify_state(x, i, &s);
        if (!status) status = verify_waiting(x, i, &s);
    }
    int32_t leaves = 0, states = 0;
    if (!status) status = verify_line(x, GDN_INDEX_LEAVES, &leaves);
    if (!status) status = verify_line(x, GDN_INDEX_STATES, &states);
    if (!status) status = verify_line(x, GDN_INDEX_HOST, &states);
    if (status) return status;
    for (int32_t page = x->free_page; page >= 0 && s.pages <= x->top_page; page = x->page_next[page]) s.pages++;
    const gdn_index_stats *t = &x->stats;
    WANT(s.nodes == t->nodes && s.blocks == t->blocks, "%d nodes and %d blocks, not %d and %d", s.nodes, s.blocks,
         t->nodes, t->blocks);
    WANT(s.pages == x->top_page && x->top_page <= x->max_pages, "%d pages, not %d", (int)s.pages, x->top_page);
    WANT(s.states == t->states && s.host_states == t->host_states, "%d states and %d on the host, not %d and %d",
         s.states, s.host_states, t->states, t->host_states);
    WANT(s.pinned_blocks == t->pinned_blocks && s.pinned_states == t->pinned_states, "%d blocks and %d states pinned",
         s.pinned_blocks, s.pinned_states);
    WANT(leaves == s.waits[0] && states == s.waits[1], "%d leaves and %d states wait, not %d and %d", leaves, states,
         s.waits[0], s.waits[1]);
    return GDN_OK;
}
