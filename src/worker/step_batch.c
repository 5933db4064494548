/* From an engine's batch to a record, and from a record to a worker's batch. */
#include "worker/step_pack.h"

#include "builder/builder.h"
#include "partition/row_rules.h"

#include <string.h>

enum { NOWHERE = -1 }; /* any number below 0 */

/* What columns follow from, as locals: stores into slots could change nothing else. */
typedef struct place {
    int32_t windowed, align, num_spec, block;
    const int32_t *seq_len, *query_len, *accepted, *read_column;
} place;

static place place_of(const gdn_settings *settings, const gdn_step_record *s)
{
    const gdn_config *c = &settings->config;
    return (place){ .windowed = settings->windowed, .align = c->mamba_cache_mode == GDN_CACHE_ALIGN,
                    .num_spec = c->num_speculative_tokens, .block = c->mamba_block_size, .seq_len = s->seq_len,
                    .query_len = s->query_len, .accepted = s->accepted_tokens, .read_column = s->read_column };
}

/* Column of the row's current state; NOWHERE: fresh, or to be found by nobody. */
static inline int32_t read_column(const place p, int32_t row)
{
    int64_t computed = gdn_computed(p.seq_len[row], p.query_len[row]);
    if (p.read_column[row] != GDN_READ_DEFAULT) return p.read_column[row];
    if (computed == 0 || (p.align && p.num_spec)) return NOWHERE;
    return p.align ? gdn_window_start((int32_t)computed, p.block) : p.accepted[row] - 1;
}

static inline int32_t window_start(const place p, int32_t row)
{
    return p.windowed ? gdn_window_start(p.seq_len[row], p.block) : 0;
}

/* Columns that the record is to have are those of the tables. */
static gdn_status check_columns(const gdn_settings *settings, const gdn_step_record *s, gdn_error *error)
{
    const place p = place_of(settings, s);
    int32_t columns = settings->config.max_blocks_per_row;
    for (int32_t i = 0; i < s->num_rows; i++) {
        int32_t read = read_column(p, i);
        int64_t end = (int64_t)window_start(p, i) + settings->window;
        if (end > columns)
            GDN_REFUSE(error, "rows[%d].seq_len = %d reaches column %lld of the state table, want 0 .. %d", i,
                       s->seq_len[i], (long long)end - 1, columns - 1);
        if (read >= columns) GDN_REFUSE(error, "rows[%d].read_column = %d, want below %d", i, read, columns);
    }
    return GDN_OK;
}

/* A window of blocks: one of them without drafts, for which a call would take longer than the copy. */
static inline void copy_window(int32_t *to, const int32_t *from, int32_t columns)
{
    for (int32_t k = 0; k < columns; k++) to[k] = from[k];
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
    int32_t rows = c->max_requests;
    for (int32_t g = 0; g < c->num_groups; g++) {
        if (b->tables[g].on_device) GDN_REFUSE(error, "the table of group %d is on a device, want host memory", g);
        rows = b->tables[g].rows < rows ? b->tables[g].rows : rows;
    }
    gdn_status status = gdn_record_range("table_row", s->table_row, s->num_rows, 0, rows - 1, error);
    return status ? status : check_columns(&b->settings, s, error);
}

/* Rows for which a kernel that reads where it writes would find the wrong state, or one that is to be shifted. */
static int32_t count_bring(const gdn_step_record *s, const int32_t *slots, const int32_t *read_slots)
{
    const int32_t *drafts = s->drafts, *accepted = s->accepted_tokens;
    int32_t n = 0, columns = s->columns;
    int64_t rows = s->num_rows, all = rows * s->num_groups;
    for (int64_t i = 0; i < rows; i++) {
        int32_t needs = (drafts[i] < 0) & (accepted[i] > 1);
        for (int64_t k = i; k < all; k += rows) needs |= (read_slots[k] != 0) & (read_slots[k] != slots[k * columns]);
        n += needs;
    }
    return n;
}

static void gather(const gdn_builder *b, const gdn_batch *batch, gdn_step_record *s, int32_t *slots,
                   int32_t *read_slots, int32_t *checkpoint_slot)
{
    const place p = place_of(&b->settings, s);
    const int32_t *table_row = s->table_row, *checkpoint_len = s->checkpoint_len;
    int64_t rows = s->num_rows, groups = s->num_groups;
    int32_t columns = s->columns, keeps = 0;
    for (int32_t i = 0; i < rows; i++) {
        int32_t start = window_start(p, i), read = read_column(p, i), row = table_row[i];
        for (int64_t g = 0; g < groups; g++) {
            const int32_t *table = b->tables[g].data + row * b->tables[g].stride;
            copy_window(slots + (g * rows + i) * columns, table + start, columns);
            read_slots[g * rows + i] = read < 0 ? 0 : table[read];
        }
        keeps |= checkpoint_len[i];
    }
    memset(checkpoint_slot, 0, (size_t)(groups * rows) * sizeof *checkpoint_slot);
    for (int64_t g = 0; keeps && g < groups; g++)
        for (int64_t i = 0; i < rows; i++)
            if (checkpoint_len[i]) checkpoint_slot[g * rows + i] = batch->checkpoint_slot[g * batch->max_rows + i];
    s->num_bring = count_bring(s, slots, read_slots);
    s->slots = slots, s->read_slots = read_slots, s->checkpoint_slot = checkpoint_slot;
}

int32_t gdn_step_pack_batch(const gdn_builder *b, const gdn_batch *batch, const gdn_step_record *rest,
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
    return check_columns(&b->settings, s, error);
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
static void copy_slots(const place p, const gdn_step_record *s, int32_t group, int32_t width, int32_t *out)
{
    int32_t rows = s->num_rows, columns = s->columns;
    const int32_t *slots = s->slots + (int64_t)group * rows * columns;
    const int32_t *read_slots = s->read_slots + (int64_t)group * rows;
    for (int32_t i = 0; i < rows; i++) {
        int32_t *table = out + (int64_t)i * width, read = read_column(p, i);
        copy_window(table + window_start(p, i), slots + (int64_t)i * columns, columns);
        if (read >= 0) table[read] = read_slots[i];
    }
}

static void copy_group(const gdn_step_record *s, const gdn_builder *b, gdn_batch *batch, int32_t group)
{
    int64_t rows = s->num_rows, first = (int64_t)group * batch->max_rows;
    int32_t width = batch->max_blocks_per_row;
    copy_slots(place_of(&b->settings, s), s, group, width, batch->blocks + first * width);
    if (rows) memcpy(batch->checkpoint_slot + first, s->checkpoint_slot + group * rows, (size_t)rows * sizeof(int32_t));
}

gdn_status gdn_step_batch(const gdn_step_record *step, const gdn_builder *b, gdn_batch *batch, char *why,
                          size_t why_size)
{
    gdn_error error = { "NULL, want a step, a builder and a batch" };
    gdn_status status = step && b && batch ? check_step(step, b, batch, &error) : GDN_EINVAL;
    if (status) return gdn_record_refuse(&error, status, why, why_size);
    copy_rows(step, batch);
    for (int32_t g = 0; g < step->num_groups; g++) copy_group(step, b, batch, g);
    batch->num_rows = step->num_rows;
    batch->padded_rows = step->padded_rows;
    batch->padded_tokens = step->padded_tokens;
    batch->indexed = 0;
    return GDN_OK;
}
