/* Would a match find something else by now? Asked for prompts that wait, instead of matching them again. */
#include "scheduler/index.h"

static int is_seen(const gdn_index *x, int32_t i)
{
    return i != NONE && gdn_seen(x, &x->nodes[i]) > 0;
}

/* The last states that a match can see up to `kv_hit` blocks, as a hit has them; ROOT: none. */
static void last_states(gdn_index *x, int32_t at, int32_t kv_hit, int32_t *on_device, int32_t *on_host)
{
    *on_device = *on_host = ROOT;
    for (; at != ROOT; at = gdn_node_above(x, at)) {
        const node *p = &x->nodes[at];
        if (!gdn_has_state(x, p) || p->depth > kv_hit || p->placed == x->step) continue;
        if (p->place == GDN_INDEX_DEVICE) {
            *on_device = at;
            return;
        }
        if (*on_host == ROOT) *on_host = at;
    }
}

gdn_status gdn_index_watch_hit(gdn_index *x, const int64_t *ids, int32_t n, int64_t limit, const gdn_index_hit *hit,
                               gdn_index_watch *out)
{
    if (!x) return GDN_EINVAL;
    if (!ids || !hit || !out) GDN_REFUSE(&x->error, "ids, hit or out is NULL");
    if (hit->node != ROOT) {
        gdn_status status = gdn_node_check(x, hit->node, "node");
        if (status) return status;
    }
    if (n < 0) GDN_REFUSE(&x->error, "n = %d, want >= 0", n);
    int64_t most = limit / x->config.block_size < n ? limit / x->config.block_size : n;
    if (hit->kv_hit < 0 || hit->kv_hit > most)
        GDN_REFUSE(&x->error, "kv_hit = %d, want 0 .. %lld", hit->kv_hit, (long long)most);
    int32_t on_device, on_host;
    last_states(x, hit->node, hit->kv_hit, &on_device, &on_host);
    *out = (gdn_index_watch){ .next_id = hit->kv_hit < most ? ids[hit->kv_hit] : -1,
                              .serial = x->nodes[hit->node].serial, .step = x->step, .node = hit->node,
                              .kv_hit = hit->kv_hit, .state_node = on_device, .host_node = on_host };
    return GDN_OK;
}

/* Blocks may go on after the match, below the node where it ends. */
static int goes_on(const gdn_index *x, const gdn_index_watch *w, int32_t at)
{
    if (w->next_id < 0 || x->nodes[at].depth > w->kv_hit) return 0;
    return is_seen(x, gdn_node_child(x, at, w->next_id));
}

int32_t gdn_index_has_changed(gdn_index *x, const gdn_index_watch *w)
{
    if (!x) return GDN_EINVAL;
    if (!w) GDN_REFUSE(&x->error, "watch is NULL");
    if (w->node < 0 || w->node > x->config.max_nodes)
        GDN_REFUSE(&x->error, "node = %d, want 0 .. %d", w->node, x->config.max_nodes);
    int32_t at = w->node;
    if (!x->nodes[at].used || x->nodes[at].serial != w->serial) return 1;
    if (x->nodes[at].depth < w->kv_hit) return 1;
    /* A split leaves the number to the lower part. */
    while (at != ROOT && x->nodes[at].depth - x->nodes[at].length >= w->kv_hit) at = x->nodes[at].parent;
    /* A leaf that has grown since may have lost what the match found, too, and have other blocks there. */
    if (at != ROOT && x->nodes[at].born >= w->step) return 1;
    if (goes_on(x, w, at)) return 1;
    int32_t on_device, on_host;
    last_states(x, at, w->kv_hit, &on_device, &on_host);
    return on_device != w->state_node || on_host != w->host_node;
}

int32_t gdn_index_list_changed(gdn_index *x, const gdn_index_watch *watches, const int32_t *sought,
                               const int32_t *num_ids, const int32_t *next, int32_t first, int32_t most, int32_t *out)
{
    if (!x) return GDN_EINVAL;
    if (!sought || !num_ids || !next || !out) GDN_REFUSE(&x->error, "sought, num_ids, next or out is NULL");
    int32_t n = 0;
    for (int32_t i = first; i >= 0 && most > 0; i = next[i], most--) {
        int32_t changed = sought[i] != num_ids[i];
        if (!changed) changed = gdn_index_has_changed(x, watches ? &watches[i] : NULL);
        if (changed < 0) return changed;
        if (changed) out[n++] = i;
    }
    return n;
}
