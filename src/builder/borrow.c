/* Memory that a host lends to a builder: its tables, the inputs it keeps on the device, and what the device found
 * wrong with those. */
#include "builder/one_thread.h"
#include "cuda/kernel_params.h"

void gdn_use_own_table(gdn_builder *b, int32_t g)
{
    const gdn_config *c = &b->settings.config;
    b->tables[g] = (gdn_table){ b->own_tables[g], c->max_blocks_per_row, c->max_requests, c->max_blocks_per_row, 0 };
}

static int is_group(gdn_builder *b, int32_t group)
{
    return group >= 0 && group < b->settings.config.num_groups;
}

int32_t *gdn_builder_table(gdn_builder *b, int32_t group)
{
    if (!b) return NULL;
    int borrowed = is_group(b, group) && b->tables[group].data != b->own_tables[group];
    return !is_group(b, group) || borrowed ? NULL : b->own_tables[group];
}

static gdn_status use_table(gdn_builder *b, int32_t group, const int32_t *data, int64_t row_stride, int32_t rows)
{
    int32_t cols = b->settings.config.max_blocks_per_row, groups = b->settings.config.num_groups;
    if (!is_group(b, group)) return gdn_fail(&b->error, GDN_EINVAL, "group = %d, want 0 .. %d", group, groups - 1);
    if (!data) {
        b->device_inputs.tables -= b->tables[group].on_device;
        gdn_use_own_table(b, group);
        return GDN_OK;
    }
    if (row_stride < cols)
        return gdn_fail(&b->error, GDN_EINVAL, "row_stride = %lld, want >= %d (max_blocks_per_row)",
                        (long long)row_stride, cols);
    if (rows < 1) return gdn_fail(&b->error, GDN_EINVAL, "rows = %d, want >= 1", rows);
    b->device_inputs.tables -= b->tables[group].on_device;
    b->tables[group] = (gdn_table){ data, row_stride, rows, cols, 0 };
    return GDN_OK;
}

gdn_status gdn_builder_borrow_table(gdn_builder *b, int32_t group, const int32_t *data, int64_t row_stride,
                                    int32_t rows)
{
    if (!b || gdn_busy(b)) return GDN_EINVAL;
    return gdn_done(b, use_table(b, group, data, row_stride, rows));
}

gdn_status gdn_builder_borrow_device_table(gdn_builder *b, int32_t group, const int32_t *memory, int64_t row_stride,
                                           int32_t rows)
{
    if (!b || gdn_busy(b)) return GDN_EINVAL;
    gdn_status status = memory ? b->device->check(b->device, memory, "table", &b->error) : GDN_OK;
    if (!status) status = use_table(b, group, memory, row_stride, rows);
    if (!status) {
        b->tables[group].on_device = memory != NULL;
        b->device_inputs.tables += memory != NULL;
    }
    return gdn_done(b, status);
}

static gdn_status borrow_array(gdn_builder *b, const char *name, const int32_t *memory, int32_t n, const int32_t **at,
                               int32_t *length)
{
    gdn_error *error = &b->error;
    if (memory && n < 1) GDN_REFUSE(error, "%s has %d elements, want >= 1", name, n);
    gdn_status status = memory ? b->device->check(b->device, memory, name, error) : GDN_OK;
    if (status) return status;
    *at = memory;
    *length = memory ? n : 0;
    return GDN_OK;
}

gdn_status gdn_builder_borrow_device_seq_lens(gdn_builder *b, const int32_t *memory, int32_t n)
{
    if (!b || gdn_busy(b)) return GDN_EINVAL;
    return gdn_done(b,
                    borrow_array(b, "seq_lens", memory, n, &b->device_inputs.seq_lens, &b->device_inputs.num_seq_lens));
}

gdn_status gdn_builder_borrow_device_accepted(gdn_builder *b, const int32_t *memory, int32_t n)
{
    if (!b || gdn_busy(b)) return GDN_EINVAL;
    return gdn_done(b, borrow_array(b, "num_accepted_tokens", memory, n, &b->device_inputs.accepted,
                                    &b->device_inputs.num_accepted));
}

gdn_status gdn_device_error(gdn_builder *b, int32_t forget)
{
    static const char *const WORDS[GDN_NUM_FAULTS] = {
        [GDN_FAULT_SLOT] = "names a block in a device table that is not one of the pool",
        [GDN_FAULT_COLUMN] = "reaches past the columns of a device table",
        [GDN_FAULT_SEQ_LEN] = "has a seq_len on the device that contradicts its query_len or read_column",
        [GDN_FAULT_ACCEPTED] = "has a num_accepted_tokens on the device outside 1 .. num_speculative_tokens + 1",
    };
    if (!b || gdn_busy(b)) return GDN_EINVAL;
    gdn_status status = gdn_device_is_ours(b->device, &b->error); /* a child may not even read the words */
    volatile int32_t *faults = status ? NULL : b->device->faults;
    for (int32_t k = 0; faults && k < GDN_NUM_FAULTS; k++) {
        if (faults[k] && !status)
            status = gdn_fail(&b->error, GDN_EINVAL, "rows[%d] of a finished build %s", faults[k] - 1, WORDS[k]);
        if (forget) faults[k] = 0;
    }
    return gdn_done(b, status);
}
