/* The states that prefills keep before their end: offsets within their rows, slots for those alone, and the launch
 * plan by induction. Compiles as C and as CUDA. */
#ifndef GDN_VERIFY_CHECKPOINTS_H
#define GDN_VERIFY_CHECKPOINTS_H

#include "verify/verify_rows.h"

/* Within the row, and on the grid of the configuration and of the plan. */
GDN_RULE int32_t gdn_verify_kept_offset(const gdn_verify_input *c, int64_t i)
{
    int64_t offset = GDN_AT(checkpoint_offsets, i);
    if (offset == 0) return 0;
    if (offset < 0 || offset >= gdn_tokens_of(c, c->kept_boundaries, i)) return GDN_CHECK_CHECKPOINT;
    return offset % c->kept_grid == 0 && (!c->kept_every || offset % c->kept_every == 0) ? 0 : GDN_CHECK_CHECKPOINT;
}

GDN_RULE int32_t gdn_verify_kept_state(const gdn_verify_input *c, uint32_t group, int64_t i)
{
    int64_t slot = gdn_at(c, GDN_FIELD_checkpoint_state_indices, group, i);
    if (GDN_AT(checkpoint_offsets, i) == 0) return slot == c->pad_slot ? 0 : GDN_CHECK_CHECKPOINT;
    if (!c->strict) return 0;
    if (slot < 1 || slot >= c->num_slots[group]) return GDN_CHECK_SLOT;
    /* A number of no row, for no row may use the slot, not even the one whose checkpoint it is. */
    uint32_t none = (uint32_t)c->rows[GDN_VERIFY_SPEC].real + (uint32_t)c->rows[GDN_VERIFY_NON_SPEC].real;
    return gdn_claim_slot(c, group, (uint64_t)slot, none, 1) ? 0 : GDN_CHECK_SHARED;
}

/* The chunk that begins at the offset, of all prefills' chunks. */
GDN_RULE int32_t gdn_verify_kept_chunk(const gdn_verify_input *c, int64_t i)
{
    int64_t offset = GDN_AT(checkpoint_offsets, i), want = -1;
    if (offset != 0 && offset % GDN_CHUNK == 0) want = gdn_plus(GDN_AT(chunk_offsets, i), offset / GDN_CHUNK);
    return GDN_AT(checkpoint_chunk, i) == want ? 0 : GDN_CHECK_CHECKPOINT;
}

GDN_RULE int32_t gdn_verify_kept_start(const gdn_verify_input *c, int64_t i)
{
    int64_t at = GDN_AT(checkpoint_cu_starts, i);
    if (i == 0) return at == 0 ? 0 : GDN_CHECK_CHECKPOINT;
    int64_t kept = gdn_tokens_of(c, GDN_FIELD_prefill_query_start_loc, i - 1) / c->kept_every;
    if (at != gdn_plus(GDN_AT(checkpoint_cu_starts, i - 1), kept)) return GDN_CHECK_CHECKPOINT;
    int32_t is_last = i + 1 == c->fields[GDN_FIELD_checkpoint_cu_starts].elements;
    return is_last && at != c->num_checkpoints ? GDN_CHECK_CHECKPOINT : 0;
}

GDN_RULE int32_t gdn_verify_kept_row(const gdn_verify_input *c, int64_t i)
{
    int64_t offset = GDN_AT(checkpoint_offsets, i), prefill = i - c->kept_others, want = 0;
    if (offset != 0 && prefill >= 0)
        want = gdn_plus(GDN_AT(checkpoint_cu_starts, prefill), offset / c->kept_every - 1);
    return GDN_AT(checkpoint_rows, i) == want ? 0 : GDN_CHECK_CHECKPOINT;
}

#endif
