/* States that rows ask to be kept before their end: where they may stand, and in which slots. */
#include "strict/strict.h"

#include "base/fields.h"

static gdn_status validate_row(const gdn_settings *settings, const gdn_partition *p, const gdn_step *step, int32_t i,
                               gdn_error *error)
{
    int32_t at = step->checkpoint_len[i], q = step->query_len[i], s = step->seq_len[i];
    if (i >= p->rows) GDN_REFUSE(error, "rows[%d].checkpoint_len = %d, want 0 in a padding row", i, at);
    if (p->speculative && step->num_draft_tokens[i] >= 0)
        GDN_REFUSE(error, "rows[%d].checkpoint_len = %d, want 0 in a speculative row", i, at);
    if (step->device_seq_lens)
        GDN_REFUSE(error, "rows[%d].checkpoint_len = %d, want 0 while seq_lens are on the device", i, at);
    if (q == 1) GDN_REFUSE(error, "rows[%d].checkpoint_len = %d, want 0 in a row of one token", i, at);
    if (at <= s - q || at >= s)
        GDN_REFUSE(error, "rows[%d].checkpoint_len = %d, want %d .. %d (within the row's tokens), or 0", i, at,
                   s - q + 1, s - 1);
    int32_t offset = at - (s - q);
    if (offset % GDN_CHUNK && !settings->config.checkpoint_any)
        GDN_REFUSE(error, "rows[%d].checkpoint_len = %d, which is %d tokens into the row, want a multiple of %d "
                   "(checkpoint_any = false)", i, at, offset, GDN_CHUNK);
    return GDN_OK;
}

gdn_status gdn_strict_checkpoints(const gdn_settings *settings, const gdn_partition *p, const gdn_step *step,
                                  gdn_error *error)
{
    for (int32_t i = 0; i < step->table_rows; i++) {
        gdn_status status = step->checkpoint_len[i] ? validate_row(settings, p, step, i, error) : GDN_OK;
        if (status) return status;
    }
    return GDN_OK;
}

gdn_status gdn_strict_kept_slots(const gdn_step *step, const int32_t *slots, int32_t num_slots, int32_t group,
                                 gdn_error *error)
{
    for (int32_t i = 0; i < step->table_rows; i++)
        if (step->checkpoint_len[i] && (slots[i] < 1 || slots[i] >= num_slots))
            GDN_REFUSE(error, "rows[%d] group %d checkpoint_slot = %d, want 1 .. %d (num_slots - 1)", i, group,
                       slots[i], num_slots - 1);
    return GDN_OK;
}
