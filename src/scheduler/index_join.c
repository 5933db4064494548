/* An engine's slots and blocks join the index and leave it: as many holders as places where they are. Where there is
 * no room, the engine makes some: nothing is said of it. */
#include "scheduler/index.h"
#include "scheduler/kv_blocks.h"

gdn_status gdn_index_join(gdn_index *x, const int64_t *ids, int32_t n, gdn_kv *kv, int32_t row, gdn_slots *pools,
                          const int32_t *slots, int32_t from, gdn_index_published *out)
{
    if (!x) return GDN_EINVAL;
    if (!pools || !slots) GDN_REFUSE(&x->error, "pools or slots is NULL");
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
    gdn_index_need need;
    gdn_status status = gdn_index_add(x, ids, n, blocks, slots, from, 1, -1, out, &need);
    if (status) return status;
    if (kv) status = gdn_kv_hold(kv, blocks + out->known * per, (int32_t)(out->added * per));
    if (!status && out->state_taken) status = gdn_slots_share_each(pools, slots, NULL, 0);
    return status;
}

int32_t gdn_index_leave(gdn_index *x, int32_t node, int32_t most, gdn_kv *kv, int32_t *kv_out, gdn_slots *pools)
{
    if (!x) return GDN_EINVAL;
    if (!pools) GDN_REFUSE(&x->error, "pools is NULL");
    int32_t slots[GDN_MAX_GROUPS] = { 0 }, gone = 0;
    if (most > 0)
        gone = gdn_index_evict(x, node, most, kv_out, slots);
    else
        gone = gdn_index_drop_state(x, node, slots);
    if (gone < 0) return gone;
    gdn_status status = GDN_OK;
    if (kv && gone) status = gdn_kv_drop(kv, kv_out, gone * x->config.kv_per_block);
    if (!status) status = gdn_slots_drop_list(pools, slots);
    return status ? status : gone;
}
