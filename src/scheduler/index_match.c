/* Matches of prompts, and the locks and pins that keep what was matched. */
#include "scheduler/index.h"

static void count(int32_t *counter)
{
    if (*counter < INT32_MAX) ++*counter;
}

static void see_state(const gdn_index *x, int32_t i, gdn_index_hit *hit)
{
    const node *p = &x->nodes[i];
    if (!gdn_has_state(x, p) || p->placed == x->step) return;
    if (p->place == GDN_INDEX_DEVICE)
        hit->state_node = i, hit->state_hit = p->depth;
    else
        hit->host_node = i, hit->host_hit = p->depth;
}

static void finish(const gdn_index *x, gdn_index_hit *hit)
{
    double size = x->config.block_size;
    if (hit->host_hit <= hit->state_hit) hit->host_hit = hit->host_node = 0;
    hit->kv_tokens = hit->kv_hit * size;
    hit->state_tokens = hit->state_hit * size;
    hit->host_tokens = hit->host_hit * size;
    hit->junction = hit->kv_hit > hit->state_hit && hit->kv_hit > hit->host_hit ? hit->kv_tokens : 0;
}

gdn_status gdn_index_match(gdn_index *x, const int64_t *ids, int32_t n, int64_t limit, gdn_index_hit *out)
{
    if (!x) return GDN_EINVAL;
    if (!ids || !out) GDN_REFUSE(&x->error, "ids or out is NULL");
    if (n < 0) GDN_REFUSE(&x->error, "n = %d, want >= 0", n);
    if (limit < 0) GDN_REFUSE(&x->error, "limit = %lld, want >= 0", (long long)limit);
    int64_t most = limit / x->config.block_size < n ? limit / x->config.block_size : n;
    gdn_index_hit hit = { .num_blocks = n };
    for (int32_t at = ROOT; hit.kv_hit < most;) {
        int32_t child = gdn_node_child(x, at, ids[hit.kv_hit]);
        const node *p = &x->nodes[child];
        if (child == NONE || gdn_seen(x, p) == 0) break;
        int64_t left = most - hit.kv_hit;
        int32_t here = left < gdn_seen(x, p) ? (int32_t)left : gdn_seen(x, p);
        int32_t same = gdn_run_match(x, p, ids + hit.kv_hit, here);
        hit.kv_hit += same;
        hit.node = child;
        hit.num_nodes++;
        if (same < p->length) break;
        see_state(x, child, &hit);
        at = child;
    }
    finish(x, &hit);
    x->stats.matches++;
    *out = hit;
    return GDN_OK;
}

/* The node whose state is read: it must be on the path and have a state. */
static gdn_status check_state(gdn_index *x, const gdn_index_hit *hit, int32_t reads)
{
    gdn_status status = gdn_node_check(x, reads, "state_node");
    if (status) return status;
    const node *p = &x->nodes[reads];
    if (!gdn_has_state(x, p) || p->placed == x->step)
        GDN_REFUSE(&x->error, "state_node = %d has no state to read", reads);
    if (p->state_refs == INT32_MAX) GDN_FAIL(&x->error, GDN_ECAP, "node %d has 2^31 - 1 readers", reads);
    if (p->depth > hit->kv_hit)
        GDN_REFUSE(&x->error, "state_node = %d ends at block %d, want <= %d", reads, p->depth, hit->kv_hit);
    int32_t at = hit->node;
    while (at != ROOT && at != reads) at = x->nodes[at].parent;
    if (at != reads) GDN_REFUSE(&x->error, "state_node = %d is not on the path to node %d", reads, hit->node);
    return GDN_OK;
}

static gdn_status check_hit(gdn_index *x, const gdn_index_hit *hit, int32_t reads)
{
    if (hit->node == ROOT) {
        if (hit->kv_hit) GDN_REFUSE(&x->error, "kv_hit = %d without a node, want 0", hit->kv_hit);
        if (reads) GDN_REFUSE(&x->error, "state_node = %d without a node, want 0", reads);
        return GDN_OK;
    }
    gdn_status status = gdn_node_check(x, hit->node, "node");
    if (status) return status;
    const node *p = &x->nodes[hit->node];
    int32_t before = p->depth - p->length;
    if (hit->kv_hit <= before || hit->kv_hit > before + gdn_seen(x, p))
        GDN_REFUSE(&x->error, "kv_hit = %d, want %d .. %d in node %d", hit->kv_hit, before + 1, before + gdn_seen(x, p),
                   hit->node);
    if (x->live_locks == INT32_MAX) GDN_FAIL(&x->error, GDN_ECAP, "the index has 2^31 - 1 locks");
    return reads ? check_state(x, hit, reads) : GDN_OK;
}

/* A hit that ends within a node splits it there, because other prompts will branch there, too. */
static void end_at_a_node(gdn_index *x, gdn_index_hit *hit)
{
    const node *p = &x->nodes[hit->node];
    if (hit->kv_hit == p->depth) return;
    if (x->stats.nodes < x->config.max_nodes) {
        hit->node = gdn_node_split(x, hit->node, hit->kv_hit - (p->depth - p->length));
        return;
    }
    hit->node = p->parent;
    hit->kv_hit = x->nodes[p->parent].depth;
    finish(x, hit);
}

gdn_status gdn_index_lock(gdn_index *x, gdn_index_hit *hit)
{
    if (!x) return GDN_EINVAL;
    if (!hit) GDN_REFUSE(&x->error, "hit is NULL");
    int32_t reads = hit->state_node ? hit->state_node : hit->host_node;
    gdn_status status = check_hit(x, hit, reads);
    if (status) return status;
    x->stats.locks++;
    if (hit->node == ROOT) return GDN_OK;
    end_at_a_node(x, hit);
    if (hit->node != ROOT) x->nodes[hit->node].ends++, x->live_locks++;
    if (reads) {
        node *p = &x->nodes[reads];
        p->state_refs++;
        p->state_use = x->now;
        count(&p->state_hits);
        x->stats.state_hits++;
    }
    for (int32_t at = hit->node; at != ROOT; at = x->nodes[at].parent) {
        node *p = &x->nodes[at];
        p->refs++;
        p->last_use = x->now;
        count(&p->hits);
        if (hit->num_blocks > p->depth) count(&p->passes);
        gdn_wait_update(x, at, USED_LEAF | (at == reads ? USED_STATE : PASSED_STATE));
    }
    return GDN_OK;
}

gdn_status gdn_index_unlock(gdn_index *x, int32_t i)
{
    if (!x) return GDN_EINVAL;
    gdn_status status = gdn_node_check(x, i, "node");
    if (status) return status;
    if (!x->nodes[i].ends) GDN_REFUSE(&x->error, "node %d has no lock that ends at it", i);
    x->nodes[i].ends--;
    x->live_locks--;
    for (int32_t at = i; at != ROOT; at = x->nodes[at].parent) {
        x->nodes[at].refs--;
        x->nodes[at].last_use = x->now;
        gdn_wait_update(x, at, USED_LEAF);
    }
    return GDN_OK;
}

gdn_status gdn_index_unlock_state(gdn_index *x, int32_t i)
{
    if (!x) return GDN_EINVAL;
    gdn_status status = gdn_node_check(x, i, "node");
    if (status) return status;
    if (!x->nodes[i].state_refs) GDN_REFUSE(&x->error, "node %d has no state that is read", i);
    x->nodes[i].state_refs--;
    gdn_wait_update(x, i, 0);
    return GDN_OK;
}

static int32_t pinned_state(const node *p)
{
    return p->num_states > 0 && p->place == GDN_INDEX_DEVICE;
}

gdn_status gdn_index_pin(gdn_index *x, int32_t i, int32_t max_blocks, int32_t max_states)
{
    if (!x) return GDN_EINVAL;
    gdn_status status = gdn_node_check(x, i, "node");
    if (status) return status;
    node *p = &x->nodes[i];
    int32_t states = x->stats.pinned_states + (p->pins == 0 && pinned_state(p)), blocks = x->stats.pinned_blocks;
    for (int32_t at = i; at != ROOT && !x->nodes[at].pins_below; at = x->nodes[at].parent)
        blocks += x->nodes[at].length;
    if (max_blocks >= 0 && blocks > max_blocks)
        GDN_FAIL(&x->error, GDN_ECAP, "%d blocks would be pinned, want <= %d", blocks, max_blocks);
    if (max_states >= 0 && states > max_states)
        GDN_FAIL(&x->error, GDN_ECAP, "%d states would be pinned, want <= %d", states, max_states);
    if (x->live_pins == INT32_MAX) GDN_FAIL(&x->error, GDN_ECAP, "the index has 2^31 - 1 pins");
    x->stats.pinned_blocks = blocks;
    x->stats.pinned_states = states;
    p->pins++;
    x->live_pins++;
    for (int32_t at = i; at != ROOT; at = x->nodes[at].parent) x->nodes[at].pins_below++;
    gdn_wait_update(x, i, 0);
    return GDN_OK;
}

gdn_status gdn_index_unpin(gdn_index *x, int32_t i)
{
    if (!x) return GDN_EINVAL;
    gdn_status status = gdn_node_check(x, i, "node");
    if (status) return status;
    node *p = &x->nodes[i];
    if (!p->pins) GDN_REFUSE(&x->error, "node %d has no pin", i);
    x->live_pins--;
    if (--p->pins == 0) x->stats.pinned_states -= pinned_state(p);
    for (int32_t at = i; at != ROOT; at = x->nodes[at].parent)
        if (--x->nodes[at].pins_below == 0) x->stats.pinned_blocks -= x->nodes[at].length;
    gdn_wait_update(x, i, 0);
    return GDN_OK;
}
