/* The slots that rows name under `strict` must be slots of the pool. */
#include "strict/strict.h"

#include "base/simd_range.h"

static inline int are_slots(const int32_t *values, int32_t n, int32_t slots)
{
    uint32_t highest = 0;
    for (int32_t i = 0; i < n; i++) highest = gdn_larger(highest, gdn_above(values[i], 1));
    return highest < (uint32_t)(slots - 1) || n == 0;
}

static gdn_status validate_slots(const gdn_slot_users *k, const gdn_step *step, int32_t i, int32_t read_column,
                                 int32_t slots, int32_t group, gdn_error *error)
{
    int32_t row = gdn_slot_users_row(k, i), written = gdn_slot_users_written(k, step, i);
    for (int32_t c = 0; c < k->columns; c++) {
        int32_t v = k->write[i * k->columns + c], lowest = c < written;
        if (v < lowest || v >= slots)
            GDN_REFUSE(error, "rows[%d] group %d block %d = %d, want %d .. %d (num_slots - 1)", row, group, c, v,
                       lowest, slots - 1);
    }
    if (read_column >= 0 && (k->read[i] < 1 || k->read[i] >= slots))
        GDN_REFUSE(error, "rows[%d] group %d block at read_column %d = %d, want 1 .. %d (num_slots - 1)", row, group,
                   read_column, k->read[i], slots - 1);
    return GDN_OK;
}

static inline int rows_are_good(const gdn_slot_users *k, int32_t slots, int32_t i, int32_t n)
{
    const int32_t *write = k->write + i * k->columns;
    int good = k->columns == 1   ? are_slots(write, n, slots)
               : k->columns == 4 ? are_slots(write, n * 4, slots)
                                 : are_slots(write, n * k->columns, slots);
    return good && (k->reads_back || are_slots(k->read + i, n, slots));
}

/* Past rows from i on, as long as all slots of whole blocks of them are good. */
static inline int32_t skip_good(const gdn_slot_users *k, int32_t slots, int32_t i, int32_t block)
{
    while (i + block <= k->rows && rows_are_good(k, slots, i, block)) i += block;
    return i;
}

/* The row from which on not all slots are good. Null slots are rare: fresh rows read them, and
 * speculative rows with fewer drafts may name them. */
GDN_WIDE static int32_t find_doubtful(const gdn_slot_users *k, int32_t slots)
{
    int32_t all = k->rows & ~(GDN_VECTOR - 1), i = rows_are_good(k, slots, 0, all) ? all : 0;
    int32_t vectors = skip_good(k, slots, i, GDN_VECTOR);
    return skip_good(k, slots, vectors, GDN_FEW);
}

static gdn_status check_slots(const gdn_slot_users *k, const gdn_step *step, const int32_t *read_column, int32_t slots,
                              int32_t group, gdn_error *error)
{
    for (int32_t i = find_doubtful(k, slots); i < k->rows; i++) {
        gdn_status status = validate_slots(k, step, i, read_column[gdn_slot_users_row(k, i)], slots, group, error);
        if (status) return status;
    }
    return GDN_OK;
}

/* Padding that the host wrote itself names no slot in the columns that a step would use of it. */
static gdn_status check_padding(const gdn_table *table, const gdn_table *own, int32_t columns, const gdn_partition *p,
                                const gdn_step *step, int32_t group, gdn_error *error)
{
    for (int32_t i = p->rows; i < step->table_rows; i++) {
        int32_t r = step->table_row[i];
        const gdn_table *t = r < 0 ? own : table;
        const int32_t *blocks = t->data + (int64_t)(r < 0 ? ~r : r) * t->stride;
        for (int32_t c = 0; c < columns; c++)
            if (blocks[c])
                GDN_REFUSE(error, "rows[%d] group %d block %d = %d, want 0 in a padding row", i, group, c, blocks[c]);
    }
    return GDN_OK;
}

static gdn_status check_group(const gdn_slot_users users[2], gdn_uniqueness *u, const gdn_state_indices *indices,
                              const gdn_settings *settings, const gdn_partition *p, const gdn_step *step, int32_t g,
                              gdn_error *error)
{
    gdn_status status = GDN_OK;
    for (int32_t n = 0; !status && n < 2; n++)
        status = check_slots(&users[n], step, indices->read_column, settings->num_slots[g], g, error);
    const gdn_table *own = step->own ? &step->own[g] : NULL;
    if (!status) status = check_padding(&step->tables[g], own, settings->window, p, step, g, error);
    if (!status && u->seen) status = gdn_uniqueness_check(u, users, step, g, error);
    return status;
}

static gdn_status check_kept(const gdn_slot_users users[2], gdn_uniqueness *u, const gdn_settings *settings,
                             const gdn_step *step, int32_t g, gdn_error *error)
{
    const int32_t *slots = step->checkpoint_slot + (size_t)g * (size_t)settings->config.max_rows;
    gdn_status status = gdn_strict_kept_slots(step, slots, settings->num_slots[g], g, error);
    if (!status && u->seen) status = gdn_uniqueness_check_kept(u, users, step, slots, g, error);
    return status;
}

gdn_status gdn_strict_slots(const gdn_state_indices *indices, gdn_uniqueness *u, const gdn_settings *settings,
                              const gdn_partition *p, const gdn_step *step, gdn_error *error)
{
    /* Without speculation column 0 is both the current state and the next, unless the host says otherwise. */
    int32_t reads_back = settings->config.num_speculative_tokens == 0 && !indices->any_reads_given;
    for (int32_t g = 0; g < settings->config.num_groups; g++) {
        const int32_t *slots = indices->slots + (size_t)g * indices->group_stride;
        gdn_slot_users users[2] = {
            { slots + indices->non_spec, slots + indices->non_spec_read, p->non_spec_rows, p->num_non_spec, 1,
              reads_back },
            { slots, slots + indices->spec_read, p->spec_rows, p->num_spec, p->state_columns, 0 },
        };
        int on_device = step->tables[g].on_device; /* the device checks what only it can see */
        if (on_device) users[0].rows = users[1].rows = 0;
        gdn_status status = on_device ? GDN_OK : check_group(users, u, indices, settings, p, step, g, error);
        if (!status && p->checkpoints_asked) status = check_kept(users, u, settings, step, g, error);
        if (status) return status;
    }
    return GDN_OK;
}
