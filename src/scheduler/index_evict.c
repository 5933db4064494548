/* Eviction: states and blocks leave the index and return to their owner. */
#include "scheduler/index.h"

#include <string.h>

/* Why the state of node i cannot be taken away now. */
static gdn_status check_state(gdn_index *x, int32_t i)
{
    const node *p = &x->nodes[i];
    if (p->state_refs) GDN_REFUSE(&x->error, "node %d has a state that %d requests read", i, p->state_refs);
    if (p->num_states && p->state_born == x->step) GDN_REFUSE(&x->error, "node %d has a state of this step", i);
    return GDN_OK;
}

static void take_state(gdn_index *x, int32_t i, int32_t *slots)
{
    node *p = &x->nodes[i];
    size_t bytes = (size_t)x->config.num_groups * sizeof *slots;
    gdn_wait_leave(x, i, LINK_STATE);
    if (bytes) memcpy(slots, gdn_node_slots(x, i), bytes);
    for (int32_t g = 0; g < x->config.num_groups; g++) gdn_node_slots(x, i)[g] = -1;
    if (!p->num_states) return;
    *(p->place == GDN_INDEX_DEVICE ? &x->stats.states : &x->stats.host_states) -= 1;
    *(p->state_hits ? &x->stats.states_used : &x->stats.states_unused) += 1;
    x->stats.states_evicted++;
    p->num_states = 0;
    p->place = GDN_INDEX_DEVICE;
}

gdn_status gdn_index_drop_state(gdn_index *x, int32_t i, int32_t *slots)
{
    if (!x) return GDN_EINVAL;
    if (!slots) GDN_REFUSE(&x->error, "slots is NULL");
    gdn_status status = gdn_node_check(x, i, "node");
    if (!status) status = check_state(x, i);
    if (status) return status;
    if (!x->nodes[i].num_states) GDN_REFUSE(&x->error, "node %d has no state", i);
    if (x->nodes[i].pins) GDN_REFUSE(&x->error, "node %d is pinned", i);
    take_state(x, i, slots);
    gdn_wait_update(x, i, 0);
    return GDN_OK;
}

gdn_status gdn_index_move_state(gdn_index *x, int32_t i, int32_t place, const int32_t *slots, int32_t *old)
{
    if (!x) return GDN_EINVAL;
    if (!slots || !old) GDN_REFUSE(&x->error, "slots or old is NULL");
    gdn_status status = gdn_node_check(x, i, "node");
    if (!status) status = check_state(x, i);
    if (status) return status;
    node *p = &x->nodes[i];
    if (place != GDN_INDEX_DEVICE && place != GDN_INDEX_ON_HOST)
        GDN_REFUSE(&x->error, "place = %d, want 0 or 1", place);
    if (!p->num_states) GDN_REFUSE(&x->error, "node %d has no state", i);
    if (p->place == place) GDN_REFUSE(&x->error, "node %d has its state in place %d already", i, place);
    int32_t *mine = gdn_node_slots(x, i);
    for (int32_t g = 0; g < x->config.num_groups; g++)
        if ((slots[g] < 0) != (mine[g] < 0) || slots[g] < -1)
            GDN_REFUSE(&x->error, "slots[%d] = %d, want one where node %d has one", g, slots[g], i);
    int is_rated = p->wait[LINK_STATE].where == RATED;
    gdn_wait_leave(x, i, LINK_STATE);
    for (int32_t g = 0; g < x->config.num_groups; g++) old[g] = mine[g], mine[g] = slots[g];
    p->place = place;
    p->placed = x->step;
    int32_t to_host = place == GDN_INDEX_ON_HOST ? 1 : -1;
    x->stats.states -= to_host;
    x->stats.host_states += to_host;
    x->stats.states_moved++;
    if (p->pins) x->stats.pinned_states -= to_host;
    gdn_wait_update(x, i, 0);
    if (is_rated) gdn_wait_rate(x, i, LINK_STATE, p->wait[LINK_STATE].value);
    return GDN_OK;
}

gdn_status gdn_evict_check(gdn_index *x, int32_t i, int32_t most, const int32_t *kv)
{
    if (!kv && x->config.kv_per_block) GDN_REFUSE(&x->error, "kv is NULL");
    if (most < 1) GDN_REFUSE(&x->error, "most = %d, want >= 1", most);
    gdn_status status = gdn_node_check(x, i, "node");
    if (!status) status = check_state(x, i);
    if (status) return status;
    const node *p = &x->nodes[i];
    if (p->children) GDN_REFUSE(&x->error, "node %d has %d children", i, p->children);
    if (p->refs) GDN_REFUSE(&x->error, "node %d has %d locks", i, p->refs);
    if (p->pins) GDN_REFUSE(&x->error, "node %d is pinned", i);
    if (p->born == x->step) GDN_REFUSE(&x->error, "node %d has blocks of this step", i);
    return GDN_OK;
}

int32_t gdn_index_evict(gdn_index *x, int32_t i, int32_t most, int32_t *kv, int32_t *slots)
{
    if (!x) return GDN_EINVAL;
    if (!slots) GDN_REFUSE(&x->error, "slots is NULL");
    gdn_status status = gdn_evict_check(x, i, most, kv);
    if (status) return status;
    node *p = &x->nodes[i];
    int32_t gone = most < p->length ? most : p->length, parent = p->parent;
    take_state(x, i, slots);
    gdn_run_shorten(x, p, p->length - gone, kv);
    p->depth -= gone;
    x->stats.blocks -= gone;
    x->stats.blocks_evicted += gone;
    if (p->length) return gone;
    gdn_node_leave(x, i);
    x->stats.nodes_evicted++;
    if (parent != ROOT) gdn_wait_update(x, parent, 0);
    return gone;
}
