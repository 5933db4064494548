/* Descriptions of nodes, and the index's counters. */
#include "scheduler/index.h"

#include <string.h>

gdn_status gdn_index_describe(gdn_index *x, int32_t i, gdn_index_node *out)
{
    if (!x) return GDN_EINVAL;
    if (!out) GDN_REFUSE(&x->error, "out is NULL");
    if (i == ROOT) {
        *out = (gdn_index_node){ .first_child = x->nodes[ROOT].first_child, .children = x->nodes[ROOT].children,
                                 .mark = -1 };
        return GDN_OK;
    }
    gdn_status status = gdn_node_check(x, i, "node");
    if (status) return status;
    const node *p = &x->nodes[i];
    double size = x->config.block_size;
    int32_t above = gdn_node_above(x, i);
    *out = (gdn_index_node){
        .last_use = p->last_use, .created = p->created, .state_use = p->state_use,
        .leaf_value = p->wait[LINK_LEAF].value, .state_value = p->wait[LINK_STATE].value,
        .tokens = p->depth * size, .kv_bytes = p->length * (double)x->config.kv_bytes,
        .state_bytes = p->num_states ? (double)x->config.state_bytes : 0.0,
        .parent_gap = (p->depth - x->nodes[above].depth) * size, .parent = p->parent, .first_child = p->first_child,
        .next = p->next, .depth = p->depth, .length = p->length, .children = p->children, .refs = p->refs,
        .state_refs = p->state_refs, .pins = p->pins, .hits = p->hits, .state_hits = p->state_hits,
        .passes = p->passes, .mark = p->mark, .num_states = p->num_states, .place = p->place,
        .leaf_is_new = p->wait[LINK_LEAF].where != RATED, .state_is_new = p->wait[LINK_STATE].where != RATED,
    };
    return GDN_OK;
}

gdn_status gdn_index_describe_all(const gdn_index *x, gdn_index_stats *out)
{
    if (!x || !out) return GDN_EINVAL;
    *out = x->stats;
    out->kv_bytes = x->stats.blocks * (double)x->config.kv_bytes;
    out->state_bytes = x->stats.states * (double)x->config.state_bytes;
    out->leaves = x->lines[GDN_INDEX_LEAVES].num_used + gdn_heap_size(x->lines[GDN_INDEX_LEAVES].rated);
    return GDN_OK;
}

gdn_status gdn_index_slots(const gdn_index *x, int32_t i, int32_t *slots)
{
    if (!x || !slots || i < 0 || i > x->config.max_nodes || !x->nodes[i].used) return GDN_EINVAL;
    for (int32_t g = 0; g < x->config.num_groups; g++) slots[g] = i == ROOT ? -1 : gdn_node_slots(x, i)[g];
    return GDN_OK;
}

/* From the end of the path to its start: each node writes its part. */
gdn_status gdn_index_read(const gdn_index *x, int32_t i, int32_t first, int32_t n, int64_t *ids, int32_t *kv)
{
    if (!x || i < 0 || i > x->config.max_nodes || !x->nodes[i].used) return GDN_EINVAL;
    if (first < 0 || n < 0 || (int64_t)first + n > x->nodes[i].depth) return GDN_EINVAL;
    for (int32_t end = first + n, at = i; at != ROOT && end > first; at = x->nodes[at].parent) {
        const node *p = &x->nodes[at];
        int32_t before = p->depth - p->length, from = before > first ? before : first;
        if (end <= before) continue;
        gdn_run_read(x, p, from - before, end - from, ids ? ids + (from - first) : NULL,
                     kv ? kv + (int64_t)(from - first) * x->config.kv_per_block : NULL);
        end = from;
    }
    return GDN_OK;
}
