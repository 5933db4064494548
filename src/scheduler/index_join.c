/* An engine's slots and blocks join the index and leave it: as many holders as places where they are. Where there is
 * no room, the engine makes some: nothing is said of it. */
#include "scheduler/index.h"
#include "scheduler/kv_blocks.h"

/* Of the groups that the index has, in the order of slots. */
static gdn_status refuse_slots(gdn_index *x, const gdn_slots *pools, const int32_t *slots)
{
    int32_t g = 0;
    while (g < x->config.num_groups - 1 && gdn_slots_holders(pools, g, slots[g]) > 0) g++;
    GDN_REFUSE(&x->error, "slots[%d] = %d, want a slot of pools that something holds", g, slots[g]);
}

/* Slots come first, and go back where they do not join: only pools can tell whether they are theirs. */
gdn_status gdn_index_join(gdn_index *x, const int64_t *ids, int32_t n, gdn_kv *kv, int32_t row, gdn_slots *pools,
                          const int32_t *slots, int32_t from, gdn_index_published *out)
{
    if (!x) return GDN_EINVAL;
    if (!pools || !slots) GDN_REFUSE(&x->error, "pools or slots is NULL");
    if (!ids || !out) GDN_REFUSE(&x->error, "%s is NULL", ids ? "out" : "ids");
    const int32_t *blocks = NULL;
    int64_t per = x->config.kv_per_block;
    if (kv) {
        if (row < 0 || row >= kv->config.rows)
            GDN_REFUSE(&x->error, "row = %d, want 0 .. %d", row, kv->config.rows - 1);
        if (n * per > gdn_kv_length(kv, row))
            GDN_REFUSE(&x->error, "n = %d blocks of %lld, want at most the %d of row %d", n, (long long)per,
                       gdn_kv_length(kv, row), row);
        blocks = gdn_kv_row(kv, row);
    }
    if (gdn_slots_share_each(pools, slots, NULL, 0)) return refuse_slots(x, pools, slots);
    gdn_index_need need;
    gdn_status status = gdn_index_add(x, ids, n, blocks, slots, from, 1, -1, out, &need);
    if (status || !out->state_taken) (void)gdn_slots_drop_list(pools, slots);
    if (status || !kv) return status;
    return gdn_kv_hold(kv, blocks + out->known * per, (int32_t)(out->added * per));
}

/* A node's slots, where pools know them; -1 in groups that have none. */
static gdn_status check_slots(gdn_index *x, int32_t i, const gdn_slots *pools)
{
    const int32_t *slots = gdn_node_slots(x, i);
    for (int32_t g = 0; g < x->config.num_groups; g++)
        if (slots[g] > 0 && gdn_slots_holders(pools, g, slots[g]) < 1)
            GDN_REFUSE(&x->error, "node %d has slot %d of group %d, which pools do not know", i, slots[g], g);
    return GDN_OK;
}

/* A leaf's last blocks lose the index as a holder while they are still in it: only kv can tell whether they are its. */
static gdn_status drop_blocks(gdn_index *x, int32_t i, int32_t most, gdn_kv *kv, int32_t *kv_out)
{
    const node *p = &x->nodes[i];
    int32_t gone = most < p->length ? most : p->length;
    gdn_run_read(x, p, p->length - gone, gone, NULL, kv_out);
    if (gdn_kv_drop(kv, kv_out, gone * x->config.kv_per_block))
        GDN_REFUSE(&x->error, "node %d has blocks that kv does not know", i);
    return GDN_OK;
}

int32_t gdn_index_leave(gdn_index *x, int32_t node, int32_t most, gdn_kv *kv, int32_t *kv_out, gdn_slots *pools)
{
    if (!x) return GDN_EINVAL;
    if (!pools) GDN_REFUSE(&x->error, "pools is NULL");
    int32_t slots[GDN_MAX_GROUPS] = { 0 }, gone = 0;
    gdn_status status = most > 0 ? gdn_evict_check(x, node, most, kv_out) : gdn_node_check(x, node, "node");
    if (!status) status = check_slots(x, node, pools);
    if (!status && most > 0 && kv) status = drop_blocks(x, node, most, kv, kv_out);
    if (status) return status;
    if (most > 0)
        gone = gdn_index_evict(x, node, most, kv_out, slots);
    else
        gone = gdn_index_drop_state(x, node, slots);
    if (gone >= 0) (void)gdn_slots_drop_list(pools, slots);
    return gone;
}
