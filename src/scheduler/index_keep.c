/* What an engine does for a chunk that leaves a state, and where requests find no room: the first in line leave, one
 * joins, and the request's own slots are others then. In one call, for a step has several of each. */
#include "base/limits.h"
#include "scheduler/index.h"

/* 1: something left; 0: nothing waits; negative: a gdn_status. */
static int32_t leave_first(gdn_index *x, int32_t kind, int32_t most, gdn_kv *kv, int32_t *kv_out, gdn_slots *pools)
{
    int32_t node = gdn_index_first(x, kind);
    if (node == NONE) return 0;
    int32_t gone = gdn_index_leave(x, node, kind == GDN_INDEX_LEAVES ? most : 0, kv, kv_out, pools);
    return gone < 0 ? gone : 1;
}

int32_t gdn_index_free_up(gdn_index *x, int32_t kind, int32_t wanted, int32_t most, gdn_kv *kv, int32_t *kv_out,
                          gdn_slots *pools)
{
    if (!x) return GDN_EINVAL;
    if (!pools) GDN_REFUSE(&x->error, "pools is NULL");
    if (kind != GDN_INDEX_LEAVES && kind != GDN_INDEX_STATES) GDN_REFUSE(&x->error, "kind = %d, want 0 or 1", kind);
    if (kind == GDN_INDEX_LEAVES && (!kv || most < 1))
        GDN_REFUSE(&x->error, "most = %d without blocks, want kv, and most >= 1", most);
    int32_t left = 0;
    while ((kind == GDN_INDEX_LEAVES ? gdn_kv_available(kv) : gdn_slots_least(pools)) < wanted) {
        int32_t one = leave_first(x, kind, most, kv, kv_out, pools);
        if (one < 0) return one;
        if (!one) break;
        left++;
    }
    return left;
}

gdn_status gdn_index_keep(gdn_index *x, const int64_t *ids, int32_t n, gdn_kv *kv, int32_t row, gdn_slots *pools,
                          int32_t *const *tables, int64_t at, int64_t to, int32_t owner, int32_t from, int32_t most,
                          int32_t *kv_out, gdn_index_published *out)
{
    if (!x) return GDN_EINVAL;
    if (!pools || !tables || !out) GDN_REFUSE(&x->error, "pools, tables or out is NULL");
    int32_t slots[GDN_MAX_GROUPS] = { 0 }, left = 1;
    if (to >= 0 && owner >= 0 && gdn_slots_least(pools) < 1) {
        if (most > 0) left = leave_first(x, GDN_INDEX_STATES, 0, NULL, NULL, pools);
        if (left < 0) return left;
        if (gdn_slots_least(pools) < 1) return GDN_ECAP;
    }
    gdn_status status = gdn_slots_copy_each(pools, tables, at, slots);
    if (status) GDN_REFUSE(&x->error, "at = %lld, want a place of the tables", (long long)at);
    while ((status = gdn_index_join(x, ids, n, kv, row, pools, slots, from, out)) == GDN_ECAP && most > 0) {
        left = leave_first(x, GDN_INDEX_LEAVES, most, kv, kv_out, pools);
        if (left < 0) return left;
        if (!left) return GDN_ECAP;
    }
    if (status || to < 0 || !out->state_taken) return status;
    return gdn_slots_move_each(pools, tables, at, to, owner);
}
