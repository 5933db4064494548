/* Reading state tables: bounds first, then one gather a group. */
#include "partition/state_indices.h"

#include "partition/row_rules.h"
#include "partition/scan_rows.h"

#include <stdlib.h>
#include <string.h>

gdn_status gdn_state_indices_new(gdn_state_indices *indices, const gdn_settings *settings)
{
    const gdn_config *c = &settings->config;
    size_t rows = (size_t)c->max_rows, columns = (size_t)c->num_speculative_tokens + 1;
    indices->non_spec = rows * columns;
    indices->spec_read = indices->non_spec + rows;
    indices->non_spec_read = indices->spec_read + rows;
    indices->checkpoint = indices->non_spec_read + rows;
    indices->group_stride = indices->checkpoint + (settings->has_checkpoints ? rows : 0);
    indices->window = calloc(rows, sizeof *indices->window);
    indices->read_column = calloc(rows, sizeof *indices->read_column);
    indices->slots = calloc((size_t)c->num_groups * indices->group_stride, sizeof *indices->slots);
    return indices->window && indices->read_column && indices->slots ? GDN_OK : GDN_ENOMEM;
}

void gdn_state_indices_free(gdn_state_indices *indices)
{
    free(indices->window);
    free(indices->read_column);
    free(indices->slots);
}

void gdn_state_indices_resolve_reads(gdn_state_indices *indices, const gdn_settings *settings, const gdn_partition *p,
                                     const gdn_step *step)
{
    const gdn_config *c = &settings->config;
    const int32_t *given = step->read_column, *seq_len = step->seq_len, *query_len = step->query_len;
    int32_t align = c->mamba_cache_mode == GDN_CACHE_ALIGN, named = align;
    for (int32_t i = 0; !align && i < p->rows; i++) {
        /* Unsigned: nothing is checked yet, and the lowest number minus one must wrap, not trap. */
        int32_t implied = seq_len[i] == query_len[i] ? -1 : (int32_t)((uint32_t)step->num_accepted_tokens[i] - 1);
        indices->read_column[i] = given[i] == GDN_READ_DEFAULT ? implied : given[i];
        named |= given[i] ^ GDN_READ_DEFAULT;
    }
    indices->any_reads_given = named;
    for (int32_t i = 0; align && i < p->rows; i++) {
        int32_t implied = GDN_READ_DEFAULT, computed = (int32_t)gdn_computed(seq_len[i], query_len[i]);
        if (c->num_speculative_tokens == 0) implied = gdn_window_start(computed, c->mamba_block_size);
        if (computed == 0) implied = -1;
        indices->read_column[i] = given[i] == GDN_READ_DEFAULT ? implied : given[i];
    }
}

static gdn_status check_table_rows(gdn_state_indices *indices, const gdn_settings *settings, const gdn_step *step,
                                   int32_t rows, gdn_error *error)
{
    int32_t tables = INT32_MAX, own = step->own ? step->own[0].rows : 0, signs;
    for (int32_t g = 0; g < settings->config.num_groups; g++) {
        tables = step->tables[g].rows < tables ? step->tables[g].rows : tables;
        if (step->tables[g].on_device) own = 0;
    }
    int within = gdn_are_within(step->table_row, rows, -own, tables - 1, &signs);
    indices->own_rows = signs < 0;
    if (within) return GDN_OK;
    for (int32_t i = 0; i < rows; i++) {
        int32_t r = step->table_row[i];
        if (r >= tables || ~r >= own)
            return gdn_fail(error, GDN_EINVAL, "rows[%d].table_row = %d, want %d .. %d", i, r, -own, tables - 1);
    }
    return GDN_OK;
}

static gdn_status locate_windows(gdn_state_indices *indices, const gdn_settings *settings, const gdn_step *step,
                                 int32_t rows, gdn_error *error)
{
    int32_t last = settings->config.num_speculative_blocks, cols = step->tables[0].cols;
    for (int32_t i = 0; i < rows; i++) {
        int32_t start = gdn_window_start(step->seq_len[i], settings->config.mamba_block_size);
        if ((int64_t)start + last >= cols)
            return gdn_fail(error, GDN_EINVAL,
                            "rows[%d].seq_len = %d reaches column %lld of the state table, want 0 .. %d", i,
                            step->seq_len[i], (long long)start + last, cols - 1);
        indices->window[i] = start;
    }
    return GDN_OK;
}

gdn_status gdn_state_indices_locate(gdn_state_indices *indices, const gdn_settings *settings, const gdn_partition *p,
                                    const gdn_step *step, gdn_error *error)
{
    if (step->null_slots) return GDN_OK;
    gdn_status status = check_table_rows(indices, settings, step, step->table_rows, error);
    if (!status && settings->windowed && !step->device_seq_lens)
        status = locate_windows(indices, settings, step, p->rows, error);
    return status;
}

/* A group's table as this step's rows see it. */
typedef struct source {
    const gdn_table *table, *own;
    const int32_t *table_row, *window;
} source;

static inline const int32_t *row_slots(const source *s, int32_t row)
{
    int32_t r = s->table_row[row];
    const gdn_table *t = r < 0 ? s->own : s->table;
    const int32_t *blocks = t->data + (int64_t)(r < 0 ? ~r : r) * t->stride;
    return s->window ? blocks + s->window[row] : blocks;
}

static void gather_rows(const source *s, int32_t rows, int32_t own_rows, int32_t *out)
{
    const int32_t *data = s->table->data;
    int64_t stride = s->table->stride;
    if (!own_rows && !s->window) {
        const int32_t *table_row = s->table_row;
#pragma GCC unroll 4
        for (int32_t i = 0; i < rows; i++) out[i] = data[table_row[i] * stride];
        return;
    }
    for (int32_t i = 0; i < rows; i++) out[i] = *row_slots(s, i);
}

static void gather_listed(const source *s, const int32_t *list, int32_t n, int32_t table_rows, int32_t own_rows,
                          int32_t *out)
{
    int32_t listed = n, whole = own_rows || s->window;
    while (listed && list[listed - 1] >= table_rows) listed--; /* padding that the build made */
    const int32_t *data = s->table->data, *table_row = s->table_row;
    int64_t stride = s->table->stride;
    for (int32_t k = 0; k < listed && !whole; k++) out[k] = data[table_row[list[k]] * stride];
    for (int32_t k = 0; k < listed && whole; k++) out[k] = *row_slots(s, list[k]);
    memset(out + listed, 0, (size_t)(n - listed) * sizeof *out);
}

/* The blocks of every spec row, `columns` of them; a literal there makes copies of registers. Rows of padding that the
 * build made are none of them. */
static inline void gather_columns(const source *s, const gdn_partition *p, int32_t columns, int32_t own_rows,
                                  int32_t *out)
{
    const int32_t *rows = p->spec_rows, *data = s->table->data, *table_row = s->table_row;
    int64_t stride = s->table->stride;
    int32_t n = p->num_spec, whole = own_rows || s->window;
    for (int32_t k = 0; k < n && !whole; k++)
        memcpy(out + (size_t)k * (size_t)columns, data + table_row[rows ? rows[k] : k] * stride,
               (size_t)columns * sizeof *out);
    for (int32_t k = 0; k < n && whole; k++)
        memcpy(out + (size_t)k * (size_t)columns, row_slots(s, rows ? rows[k] : k), (size_t)columns * sizeof *out);
}

static void gather_spec(const source *s, const gdn_partition *p, int32_t own_rows, int32_t *out)
{
    int32_t columns = p->state_columns;
    if (columns == 2) gather_columns(s, p, 2, own_rows, out);
    else if (columns == 3) gather_columns(s, p, 3, own_rows, out);
    else if (columns == 4) gather_columns(s, p, 4, own_rows, out);
    else gather_columns(s, p, columns, own_rows, out);
}

/* vLLM spreads a one-column table over all columns of a step for a captured graph. */
static void gather_repeated(const source *s, const gdn_partition *p, int32_t *out)
{
    for (int32_t k = 0; k < p->num_spec; k++) {
        int32_t value = *row_slots(s, p->spec_rows ? p->spec_rows[k] : k);
        for (int32_t c = 0; c < p->state_columns; c++) *out++ = value;
    }
}

/* Read columns are absolute: the window of this step has moved on from the one that was written. */
static void gather_reads(const source *s, const int32_t *read_column, const int32_t *list, int32_t n, int32_t own_rows,
                         int32_t *out)
{
    const int32_t *data = s->table->data;
    int64_t stride = s->table->stride;
    if (!own_rows && !list) {
        for (int32_t i = 0; i < n; i++)
            out[i] = read_column[i] < 0 ? 0 : data[s->table_row[i] * stride + read_column[i]];
        return;
    }
    source whole_rows = { s->table, s->own, s->table_row, NULL };
    for (int32_t k = 0; k < n; k++) {
        int32_t row = list ? list[k] : k, column = read_column[row];
        out[k] = column < 0 ? 0 : row_slots(&whole_rows, row)[column];
    }
}

/* Read columns that follow from accepted counts are among those that the class was gathered with, `columns` a row. */
static void pick_reads(const int32_t *written, int32_t columns, const int32_t *read_column, const int32_t *list,
                       int32_t n, int32_t *out)
{
    if (columns == 1 && !list) {
        for (int32_t k = 0; k < n; k++) out[k] = read_column[k] < 0 ? 0 : written[k];
        return;
    }
    for (int32_t k = 0; k < n; k++) {
        int32_t column = read_column[list ? list[k] : k];
        out[k] = column < 0 ? 0 : written[k * columns + column];
    }
}

/* strict: slots of the current states. `implied`: no row names its column. */
static void gather_both_reads(gdn_state_indices *indices, const source *s, const gdn_partition *p, int32_t columns,
                              int32_t implied, int32_t *slots)
{
    const int32_t *read_column = indices->read_column;
    if (implied)
        pick_reads(slots, columns, read_column, p->spec_rows, p->num_spec, slots + indices->spec_read);
    else
        gather_reads(s, read_column, p->spec_rows, p->num_spec, indices->own_rows, slots + indices->spec_read);
    if (implied && columns == 1)
        pick_reads(slots + indices->non_spec, 1, read_column, p->non_spec_rows, p->num_non_spec,
                   slots + indices->non_spec_read);
    else
        gather_reads(s, read_column, p->non_spec_rows, p->num_non_spec, indices->own_rows,
                     slots + indices->non_spec_read);
}

/* The column is one of the whole table row, not of the window. */
static void gather_checkpoints(const source *s, const gdn_partition *p, int32_t pad, int32_t *out)
{
    source whole_rows = { s->table, s->own, s->table_row, NULL };
    for (int32_t k = 0; k < p->num_kept_rows; k++) {
        int32_t row = p->non_spec_rows ? p->non_spec_rows[k] : k;
        out[k] = p->checkpoint_offset[k] ? row_slots(&whole_rows, row)[p->checkpoint_column[k]] : pad;
    }
}

/* strict: the slots that the rows ask for, which need no table. */
static void take_checkpoints(const gdn_settings *settings, const gdn_partition *p, const gdn_step *step, int32_t group,
                             int32_t *out)
{
    const int32_t *given = step->checkpoint_slot + (size_t)group * (size_t)settings->config.max_rows;
    for (int32_t k = 0; k < p->num_kept_rows; k++) {
        int32_t at = p->first_kept + k, row = p->non_spec_rows ? p->non_spec_rows[at] : at;
        out[k] = p->checkpoint_offset[k] ? given[row] : settings->config.pad_slot_id;
    }
}

/* Rows without tokens whose block is null are padding, whatever made them; strict has none among its rows. */
static void mark_padding(int32_t *slots, const int32_t *start, int32_t n, int32_t columns, int32_t pad)
{
    for (int32_t k = 0; k < n; k++) {
        if (start[k] != start[k + 1]) continue;
        for (int32_t c = k * columns; c < (k + 1) * columns; c++)
            if (slots[c] == GDN_NULL_SLOT) slots[c] = pad;
    }
}

void gdn_state_indices_gather(gdn_state_indices *indices, const gdn_settings *settings, const gdn_partition *p,
                              const gdn_step *step)
{
    const gdn_config *c = &settings->config;
    int32_t table_rows = step->table_rows;
    if (step->null_slots) {
        for (size_t i = 0; i < (size_t)c->num_groups * indices->group_stride; i++) indices->slots[i] = c->pad_slot_id;
        return;
    }
    for (int32_t g = 0; g < c->num_groups; g++) {
        int32_t *slots = indices->slots + (size_t)g * indices->group_stride;
        if (p->checkpoints_asked) take_checkpoints(settings, p, step, g, slots + indices->checkpoint);
        if (step->tables[g].on_device) continue;
        source s = { &step->tables[g], step->own ? &step->own[g] : NULL, step->table_row,
                     settings->windowed ? indices->window : NULL };
        if (!p->speculative) {
            int32_t rows = p->rows < table_rows ? p->rows : table_rows;
            gather_rows(&s, rows, indices->own_rows, slots + indices->non_spec);
            memset(slots + indices->non_spec + rows, 0, (size_t)(p->rows - rows) * sizeof *slots);
        } else {
            if (p->repeat_column) gather_repeated(&s, p, slots);
            else gather_spec(&s, p, indices->own_rows, slots);
            if (p->mixed)
                gather_listed(&s, p->non_spec_rows, p->num_non_spec, table_rows, indices->own_rows,
                              slots + indices->non_spec);
        }
        if (c->rules != GDN_RULES_STRICT) {
            if (p->has_checkpoints) gather_checkpoints(&s, p, c->pad_slot_id, slots + indices->checkpoint);
            if (!c->pad_slot_id) continue;
            if (p->speculative)
                mark_padding(slots, p->spec_start, p->num_spec, p->state_columns, c->pad_slot_id);
            if (!p->speculative || p->mixed)
                mark_padding(slots + indices->non_spec, p->non_spec_start, p->num_non_spec, 1, c->pad_slot_id);
            continue;
        }
        gather_both_reads(indices, &s, p, c->num_speculative_tokens + 1, !indices->any_reads_given, slots);
    }
}
