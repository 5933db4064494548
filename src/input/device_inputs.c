/* Device inputs: what the host checks of them. */
#include "input/device_inputs.h"

#include <stdlib.h>

gdn_status gdn_device_inputs_new(gdn_device_inputs *r, int32_t max_rows)
{
    r->seq_len = calloc((size_t)max_rows, sizeof *r->seq_len);
    r->ones = calloc((size_t)max_rows, sizeof *r->ones);
    if (!r->seq_len || !r->ones) return GDN_ENOMEM;
    for (int32_t i = 0; i < max_rows; i++) r->ones[i] = 1;
    return GDN_OK;
}

void gdn_device_inputs_free(gdn_device_inputs *r)
{
    free(r->seq_len);
    free(r->ones);
}

static gdn_status check_index(const char *name, const int32_t *index, int32_t least, int32_t rows, int32_t n,
                              gdn_error *error)
{
    for (int32_t i = 0; i < rows; i++) {
        int32_t k = index ? index[i] : -1;
        if (k < least || k >= n) GDN_REFUSE(error, "rows[%d].%s = %d, want %d .. %d", i, name, k, least, n - 1);
        if (k == -1 && i >= n)
            GDN_REFUSE(error, "rows[%d].%s = -1, its own number, want it below %d (elements)", i, name, n);
    }
    return GDN_OK;
}

/* Whether a table has the row is asked where that of a host's table is, so that both refuse the same first. */
static gdn_status refuse_own_blocks(const gdn_settings *settings, const gdn_step *step, gdn_error *error)
{
    for (int32_t g = 0; g < settings->config.num_groups; g++)
        for (int32_t i = 0; step->tables[g].on_device && i < step->table_rows; i++)
            if (step->table_row[i] < 0)
                GDN_REFUSE(error,
                           "rows[%d] has blocks of its own, want a table_row: the table of group %d is on the device",
                           i, g);
    return GDN_OK;
}

gdn_status gdn_device_inputs_apply(const gdn_device_inputs *r, const gdn_settings *settings, gdn_step *step,
                                   gdn_error *error)
{
    if (step->null_slots) return GDN_OK;
    gdn_status status = r->tables ? refuse_own_blocks(settings, step, error) : GDN_OK;
    if (!status && r->seq_lens) {
        if (settings->has_checkpoints && !settings->takes_checkpoints)
            GDN_REFUSE(
                error,
                "seq_lens are on the device, want them on the host: where prefills keep a state follows from them");
        status = check_index("seq_index", step->seq_index, -1, step->table_rows, r->num_seq_lens, error);
        for (int32_t g = 0; settings->windowed && g < settings->config.num_groups; g++)
            if (!status && !step->tables[g].on_device)
                GDN_REFUSE(error,
                           "the table of group %d is on the host, want it on the device: `align` windows follow from "
                           "seq_lens, which are there",
                           g);
        for (int32_t i = 0; i < step->rows; i++)
            r->seq_len[i] = gdn_stand_in_seq_len(step->query_len[i], step->read_column[i]);
        step->seq_len = r->seq_len;
        step->device_seq_lens = r->seq_lens;
    }
    return status;
}

/* Counts that the host gives in place of the device's. */
static gdn_status check_given(const gdn_step *step, gdn_error *error)
{
    for (int32_t i = 0; step->accepted_index && i < step->table_rows; i++)
        if (step->accepted_index[i] == GDN_INDEX_GIVEN && step->given_accepted[i] < 1)
            GDN_REFUSE(error, "rows[%d].num_accepted_tokens = %d, want 1 or more: its accepted_index is %d", i,
                       step->given_accepted[i], GDN_INDEX_GIVEN);
    return GDN_OK;
}

gdn_status gdn_device_accepted_apply(const gdn_device_inputs *r, gdn_step *step, gdn_error *error)
{
    if (!r->accepted) return GDN_OK;
    step->given_accepted = step->num_accepted_tokens;
    step->num_accepted_tokens = r->ones;
    step->device_accepted = r->accepted;
    int32_t least = step->from_batch ? GDN_INDEX_GIVEN : -1; /* counts of vLLM's arguments are not looked at then */
    gdn_status status =
        check_index("accepted_index", step->accepted_index, least, step->table_rows, r->num_accepted, error);
    return status ? status : check_given(step, error);
}
