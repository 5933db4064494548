/* The slots that rows name under `strict`: in range, and written by one row only. */
#include "legality.h"

#include "ranges.h"

#include <stdlib.h>
#include <string.h>

#define REFUSE(...) return gdn_fail(error, GDN_EINVAL, __VA_ARGS__)

gdn_status gdn_uniqueness_new(gdn_uniqueness *u, const gdn_settings *settings)
{
    const gdn_config *c = &settings->config;
    if (c->rules != GDN_RULES_STRICT || !c->check_unique) return GDN_OK;
    for (int32_t g = 0; g < c->num_groups; g++)
        if (settings->num_slots[g] > u->slots) u->slots = settings->num_slots[g];
    u->seen = calloc((size_t)u->slots, sizeof *u->seen);
    return u->seen ? GDN_OK : GDN_ENOMEM;
}

void gdn_uniqueness_free(gdn_uniqueness *u)
{
    free(u->seen);
}

/* One class of rows within a group: slots it writes, slots it reads. */
typedef struct claim {
    const int32_t *write, *read, *list; /* list: row numbers, NULL: every row */
    int32_t rows, columns;
    int32_t speculative;                /* columns 0 .. num_draft_tokens are written, else column 0 */
    int32_t reads_back;                 /* rows that read, read the slot they write */
} claim;

static inline int32_t row_of(const claim *k, int32_t i)
{
    return k->list ? k->list[i] : i;
}

static inline int32_t written_columns(const claim *k, const gdn_step *step, int32_t i)
{
    return k->speculative ? step->num_draft_tokens[row_of(k, i)] + 1 : 1;
}

static inline int are_slots(const int32_t *values, int32_t n, int32_t slots)
{
    uint32_t highest = 0;
    for (int32_t i = 0; i < n; i++) highest = larger(highest, above(values[i], 1));
    return highest < (uint32_t)(slots - 1) || n == 0;
}

static gdn_status judge_slots(const claim *k, const gdn_step *step, int32_t i, int32_t read_column, int32_t slots,
                              int32_t group, gdn_error *error)
{
    int32_t row = row_of(k, i), written = written_columns(k, step, i);
    for (int32_t c = 0; c < k->columns; c++) {
        int32_t v = k->write[i * k->columns + c], lowest = c < written;
        if (v < lowest || v >= slots)
            REFUSE("rows[%d] group %d block %d = %d, want %d .. %d (num_slots - 1)", row, group, c, v, lowest, slots - 1);
    }
    if (read_column >= 0 && (k->read[i] < 1 || k->read[i] >= slots))
        REFUSE("rows[%d] group %d block at read_column %d = %d, want 1 .. %d (num_slots - 1)", row, group, read_column,
               k->read[i], slots - 1);
    return GDN_OK;
}

static inline int rows_are_good(const claim *k, int32_t slots, int32_t i, int32_t n)
{
    const int32_t *write = k->write + i * k->columns;
    int good = k->columns == 1   ? are_slots(write, n, slots)
               : k->columns == 4 ? are_slots(write, n * 4, slots)
                                 : are_slots(write, n * k->columns, slots);
    return good && (k->reads_back || are_slots(k->read + i, n, slots));
}

/* The row from which on not all slots are good. Null slots are rare: fresh rows read them, and
 * speculative rows with fewer drafts may name them. */
WIDE static int32_t find_doubtful(const claim *k, int32_t slots)
{
    int32_t all = k->rows & ~(VECTOR - 1), i = 0;
    if (rows_are_good(k, slots, 0, all)) i = all;
    while (i + VECTOR <= k->rows && rows_are_good(k, slots, i, VECTOR)) i += VECTOR;
    while (i + SMALL <= k->rows && rows_are_good(k, slots, i, SMALL)) i += SMALL;
    return i;
}

static gdn_status check_slots(const claim *k, const gdn_step *step, const int32_t *read_column, int32_t slots,
                              int32_t group, gdn_error *error)
{
    for (int32_t i = find_doubtful(k, slots); i < k->rows; i++) {
        gdn_status status = judge_slots(k, step, i, read_column[row_of(k, i)], slots, group, error);
        if (status) return status;
    }
    return GDN_OK;
}

/* The slot is known to be written twice; say by whom. */
static gdn_status explain_duplicate(const claim *claims, const gdn_step *step, int32_t group, int32_t slot,
                                    gdn_error *error)
{
    int32_t first = -1;
    for (int32_t row = 0; row < step->rows; row++)
        for (int32_t n = 0; n < 2; n++)
            for (int32_t i = 0; i < claims[n].rows; i++) {
                if (row_of(&claims[n], i) != row) continue;
                for (int32_t c = 0; c < written_columns(&claims[n], step, i); c++) {
                    if (claims[n].write[i * claims[n].columns + c] != slot) continue;
                    if (first >= 0)
                        REFUSE("rows[%d] group %d block %d = %d, want a block that rows[%d] does not write", row, group, c,
                               slot, first);
                    first = row;
                }
            }
    return GDN_OK;
}

static gdn_status check_unique(const claim *claims, gdn_uniqueness *u, const gdn_step *step, int32_t group,
                               gdn_error *error)
{
    if (++u->generation == 0) {
        memset(u->seen, 0, (size_t)u->slots * sizeof *u->seen);
        u->generation = 1;
    }
    for (int32_t n = 0; n < 2; n++)
        for (int32_t i = 0; i < claims[n].rows; i++) {
            const int32_t *write = claims[n].write + i * claims[n].columns;
            for (int32_t c = 0; c < written_columns(&claims[n], step, i); c++) {
                if (u->seen[write[c]] == u->generation) return explain_duplicate(claims, step, group, write[c], error);
                u->seen[write[c]] = u->generation;
            }
        }
    return GDN_OK;
}

gdn_status gdn_legality_slots(const gdn_cells *cells, gdn_uniqueness *u, const gdn_settings *settings,
                              const gdn_partition *p, const gdn_step *step, gdn_error *error)
{
    /* Without speculation column 0 is both the current state and the next, unless the host says otherwise. */
    int32_t reads_back = settings->config.num_speculative_tokens == 0 && !cells->reads_named;
    for (int32_t g = 0; g < settings->config.num_groups; g++) {
        const int32_t *slots = cells->slots + (size_t)g * cells->group_stride;
        claim claims[2] = {
            { slots + cells->non_spec, slots + cells->non_spec_read, p->non_spec_rows, p->num_non_spec, 1, 0, reads_back },
            { slots + cells->spec, slots + cells->spec_read, p->spec_rows, p->num_spec, p->state_columns, 1, 0 },
        };
        gdn_status status = GDN_OK;
        for (int32_t n = 0; !status && n < 2; n++)
            status = check_slots(&claims[n], step, cells->read_column, settings->num_slots[g], g, error);
        if (!status && u->seen) status = check_unique(claims, u, step, g, error);
        if (status) return status;
    }
    return GDN_OK;
}
