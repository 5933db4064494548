/* From an engine's batch to a record, and from a record to a worker's batch. */
#include "worker/step_pack.h"

#include "builder/builder.h"
#include "partition/row_rules.h"

#include <string.h>

/* Column of the row's current state; -1: fresh, or to be found by nobody. */
static int32_t read_column(const gdn_config *c, const gdn_step_record *s, int32_t row)
{
    int64_t computed = gdn_computed(s->seq_len[row], s->query_len[row]);
    if (s->read_column[row] != GDN_READ_DEFAULT) return s->read_column[row];
    if (computed == 0) return -1;
    if (c->mamba_cache_mode != GDN_CACHE_ALIGN) return s->accepted_tokens[row] - 1;
    return c->num_speculative_tokens ? -1 : gdn_window_start((int32_t)computed, c->mamba_block_size);
}

static int32_t window_start(const gdn_settings *settings, const gdn_step_record *s, int32_t row)
{
    return settings->windowed ? gdn_window_start(s->seq_len[row], settings->config.mamba_block_size) : 0;
}

/* Columns that the record is to have are those of the row's table. */
static gdn_status check_columns(const gdn_settings *settings, const gdn_step_record *s, int32_t row, gdn_error *error)
{
    int32_t columns = settings->config.max_blocks_per_row, read = read_column(&settings->config, s, row);
    int64_t end = (int64_t)window_start(settings, s, row) + settings->window;
    if (end > columns)
        GDN_REFUSE(error, "rows[%d].seq_len = %d reaches column %lld of the state table, want 0 .. %d", row,
                   s->seq_len[row], (long long)end - 1, columns - 1);
    if (read >= columns)
        GDN_REFUSE(error, "rows[%d].read_column = %d, want below %d", row, read, columns);
    return GDN_OK;
}

/* ---- To a record ---- */

static void take_batch(const gdn_builder *b, const gdn_batch *batch, const gdn_step_record *rest, gdn_step_record *s)
{
    *s = *rest;
    s->num_rows = batch->num_rows;
    s->padded_rows = batch->padded_rows ? batch->padded_rows : batch->num_rows;
    s->padded_tokens = batch->padded_tokens ? batch->padded_tokens : rest->num_tokens;
    s->num_groups = b->settings.config.num_groups;
    s->columns = b->settings.window;
    s->query_len = batch->query_len, s->seq_len = batch->seq_len, s->drafts = batch->num_draft_tokens;
    s->accepted_tokens = batch->num_accepted_tokens, s->prompt_done = batch->prompt_done;
    s->table_row = batch->table_row, s->read_column = batch->read_column, s->checkpoint_len = batch->checkpoint_len;
    s->num_bring = 0; /* as it is known once the slots are */
}

static gdn_status check_batch(const gdn_builder *b, const gdn_batch *batch, const gdn_step_record *s, gdn_error *error)
{
    const gdn_config *c = &b->settings.config;
    if (batch->max_rows != c->max_rows || batch->num_groups != c->num_groups)
        GDN_REFUSE(error, "the batch belongs to another builder");
    if (batch->indexed) GDN_REFUSE(error, "the batch has inputs on a device, want host arrays");
    for (int32_t i = 0; i < s->num_rows; i++) {
        gdn_status status = check_columns(&b->settings, s, i, error);
        if (status) return status;
        for (int32_t g = 0; g < c->num_groups; g++)
            if (s->table_row[i] >= b->tables[g].rows || b->tables[g].on_device)
                GDN_REFUSE(error, "rows[%d].table_row = %d, want a row of host tables, 0 .. %d", i, s->table_row[i],
                           b->tables[g].rows - 1);
    }
    return GDN_OK;
}

/* A kernel that reads where it writes would find the wrong state, or one that is to be shifted. */
static int needs_bring(const gdn_step_record *s, int32_t row, const int32_t *slots, const int32_t *read_slots)
{
    int64_t rows = s->num_rows;
    for (int32_t g = 0; g < s->num_groups; g++) {
        int32_t read = read_slots[g * rows + row];
        if (read && read != slots[(g * rows + row) * s->columns]) return 1;
    }
    return s->drafts[row] < 0 && s->accepted_tokens[row] > 1;
}

static void gather(const gdn_builder *b, const gdn_batch *batch, gdn_step_record *s, int32_t *slots,
                   int32_t *read_slots, int32_t *checkpoint_slot)
{
    const gdn_settings *settings = &b->settings;
    int64_t rows = s->num_rows;
    for (int32_t g = 0; g < s->num_groups; g++) {
        for (int32_t i = 0; i < s->num_rows; i++) {
            const int32_t *table = b->tables[g].data + s->table_row[i] * b->tables[g].stride;
            int32_t read = read_column(&settings->config, s, i);
            memcpy(slots + (g * rows + i) * s->columns, table + window_start(settings, s, i),
                   (size_t)s->columns * sizeof *slots);
            read_slots[g * rows + i] = read < 0 ? 0 : table[read];
            checkpoint_slot[g * rows + i] =
                s->checkpoint_len[i] ? batch->checkpoint_slot[(int64_t)g * batch->max_rows + i] : 0;
        }
    }
    for (int32_t i = 0; i < s->num_rows; i++) s->num_bring += needs_bring(s, i, slots, read_slots);
    s->slots = slots, s->read_slots = read_slots, s->checkpoint_slot = checkpoint_slot;
}

int64_t gdn_step_pack_batch(const gdn_builder *b, const gdn_batch *batch, const gdn_step_record *rest,
                            const gdn_hello *limits, void *out, int64_t size, char *why, size_t why_size)
{
    gdn_error error = { "NULL, want a builder, a batch and the rest of the step" };
    gdn_step_record step;
    gdn_step_layout layout;
    gdn_status status = b && batch && rest ? GDN_OK : GDN_EINVAL;
    if (!status) {
        take_batch(b, batch, rest, &step);
        status = gdn_step_check_counts(&step, limits, &error);
    }
    if (!status) {
        gdn_step_layout_make(&layout, &step);
        status = gdn_step_check_arrays(&step, &layout, &error);
    }
    if (!status) status = gdn_step_check_values(&step, limits, &error);
    if (!status) status = check_batch(b, batch, &step, &error);
    if (!status) status = gdn_step_check_size(&layout, out, size, &error);
    if (status) return gdn_record_refuse(&error, status, why, why_size);
    char *bytes = out;
    gather(b, batch, &step, (int32_t *)(bytes + layout.offset[GDN_AT_slots]),
           (int32_t *)(bytes + layout.offset[GDN_AT_read_slots]),
           (int32_t *)(bytes + layout.offset[GDN_AT_checkpoint_slot]));
    return gdn_step_seal(&step, &layout, out);
}

/* ---- To a batch ---- */

static gdn_status check_step(const gdn_step_record *s, const gdn_builder *b, const gdn_batch *batch, gdn_error *error)
{
    const gdn_config *c = &b->settings.config;
    if (batch->max_rows != c->max_rows || batch->num_groups != c->num_groups)
        GDN_REFUSE(error, "the batch belongs to another builder");
    if (s->num_groups != c->num_groups || s->columns != b->settings.window)
        GDN_REFUSE(error, "a step of %d groups and %d columns, the builder has %d and %d", s->num_groups, s->columns,
                   c->num_groups, b->settings.window);
    if (s->num_rows < 0 || s->padded_rows > batch->max_rows || s->num_rows > s->padded_rows)
        GDN_FAIL(error, GDN_ECAP, "%d rows padded to %d, the batch has room for %d", s->num_rows, s->padded_rows,
                 batch->max_rows);
    for (int32_t i = 0; i < s->num_rows; i++) {
        gdn_status status = check_columns(&b->settings, s, i, error);
        if (status) return status;
    }
    return GDN_OK;
}

static void copy_rows(const gdn_step_record *s, gdn_batch *batch)
{
    size_t bytes = (size_t)s->num_rows * sizeof(int32_t);
    if (!bytes) return;
    memcpy(batch->query_len, s->query_len, bytes);
    memcpy(batch->seq_len, s->seq_len, bytes);
    memcpy(batch->num_draft_tokens, s->drafts, bytes);
    memcpy(batch->num_accepted_tokens, s->accepted_tokens, bytes);
    memcpy(batch->prompt_done, s->prompt_done, bytes);
    memcpy(batch->read_column, s->read_column, bytes);
    memcpy(batch->checkpoint_len, s->checkpoint_len, bytes);
    for (int32_t i = 0; i < s->num_rows; i++) batch->table_row[i] = ~i;
}

/* Only the blocks that the build reads: the row's window, and the column of its state. */
static void copy_slots(const gdn_step_record *s, const gdn_builder *b, gdn_batch *batch)
{
    int64_t rows = s->num_rows, width = batch->max_blocks_per_row;
    for (int32_t g = 0; g < s->num_groups; g++) {
        for (int32_t i = 0; i < s->num_rows; i++) {
            int32_t *table = batch->blocks + ((int64_t)g * batch->max_rows + i) * width;
            int32_t read = read_column(&b->settings.config, s, i);
            memcpy(table + window_start(&b->settings, s, i), s->slots + (g * rows + i) * s->columns,
                   (size_t)s->columns * sizeof *table);
            if (read >= 0) table[read] = s->read_slots[g * rows + i];
            batch->checkpoint_slot[(int64_t)g * batch->max_rows + i] = s->checkpoint_slot[g * rows + i];
        }
    }
}

gdn_status gdn_step_batch(const gdn_step_record *step, const gdn_builder *b, gdn_batch *batch, char *why,
                          size_t why_size)
{
    gdn_error error = { "NULL, want a step, a builder and a batch" };
    gdn_status status = step && b && batch ? check_step(step, b, batch, &error) : GDN_EINVAL;
    if (status) return gdn_record_refuse(&error, status, why, why_size);
    copy_rows(step, batch);
    copy_slots(step, b, batch);
    batch->num_rows = step->num_rows;
    batch->padded_rows = step->padded_rows;
    batch->padded_tokens = step->padded_tokens;
    batch->indexed = 0;
    return GDN_OK;
}
