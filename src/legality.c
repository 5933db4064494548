/* What `strict` calls legal. One pass without branches says whether anything is wrong; only then does a
 * second one look for the first offender and find the words. */
#include "legality.h"

#include <stdlib.h>
#include <string.h>

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

/* Region of a row in the wanted order: decode, short extend, long extend, first chunk. */
static inline int32_t region(int32_t query_len, int32_t seq_len, int32_t prompt_done, int32_t threshold)
{
    int32_t known = query_len > threshold ? 2 : 1 - prompt_done;
    return seq_len == query_len ? 3 : known;
}

typedef struct limits {
    int32_t spec, threshold, cols; /* S, reorder_batch_threshold, columns of a table row */
} limits;

static inline int32_t row_is_bad(const limits *l, const gdn_step *step, int32_t i)
{
    int32_t q = step->query_len[i], s = step->seq_len[i], d = step->num_draft_tokens[i];
    int32_t a = step->num_accepted_tokens[i], done = step->prompt_done[i];
    int32_t bad = (q < 1) | (s < q) | (d < -1) | (d > l->spec) | (a < 1) | (a > l->spec + 1) | (done & ~1);
    return bad | ((d >= 0) & ((q != d + 1) | (done != 1) | (s == q)));
}

static inline int32_t column_is_bad(const limits *l, const gdn_step *step, int32_t i, int32_t column)
{
    int32_t fresh = step->seq_len[i] == step->query_len[i];
    return fresh ? column != -1 : (column < 0) | (column >= l->cols);
}

static int rows_are_fine(const limits *l, const gdn_step *step, int32_t rows, const int32_t *read_column)
{
    int32_t bad = 0, regions = 0;
    for (int32_t i = 0; i < rows; i++) {
        bad |= row_is_bad(l, step, i);
        bad |= column_is_bad(l, step, i, read_column[i]);
        regions |= region(step->query_len[i], step->seq_len[i], step->prompt_done[i], l->threshold);
    }
    for (int32_t i = 1; regions && i < rows; i++)
        bad |= region(step->query_len[i], step->seq_len[i], step->prompt_done[i], l->threshold) <
               region(step->query_len[i - 1], step->seq_len[i - 1], step->prompt_done[i - 1], l->threshold);
    return !bad;
}

#define REFUSE(...) return gdn_fail(error, GDN_EINVAL, __VA_ARGS__)

static gdn_status explain_row(const limits *l, const gdn_step *step, int32_t i, gdn_error *error)
{
    int32_t q = step->query_len[i], s = step->seq_len[i], d = step->num_draft_tokens[i];
    int32_t a = step->num_accepted_tokens[i], done = step->prompt_done[i];
    if (q < 1) REFUSE("rows[%d].query_len = %d, want >= 1 (only padding at the back is empty)", i, q);
    if (s < q) REFUSE("rows[%d].seq_len = %d, want >= query_len = %d", i, s, q);
    if (d < -1 || d > l->spec) REFUSE("rows[%d].num_draft_tokens = %d, want -1 .. %d", i, d, l->spec);
    if (a < 1 || a > l->spec + 1) REFUSE("rows[%d].num_accepted_tokens = %d, want 1 .. %d", i, a, l->spec + 1);
    if (done & ~1) REFUSE("rows[%d].prompt_done = %d, want 0 or 1", i, done);
    if (d >= 0 && q != d + 1) REFUSE("rows[%d].query_len = %d, want num_draft_tokens + 1 = %d", i, q, d + 1);
    if (d >= 0 && !done) REFUSE("rows[%d].prompt_done = 0, want 1 (num_draft_tokens = %d)", i, d);
    if (d >= 0 && s == q) REFUSE("rows[%d].seq_len = %d, want > query_len = %d in a speculative row", i, s, q);
    return GDN_OK;
}

static gdn_status explain_column(const limits *l, const gdn_step *step, int32_t i, int32_t column, gdn_error *error)
{
    if (!column_is_bad(l, step, i, column)) return GDN_OK;
    if (step->seq_len[i] == step->query_len[i])
        REFUSE("rows[%d].read_column = %d, want -1 (nothing is computed yet)", i, column);
    if (column == GDN_READ_DEFAULT)
        REFUSE("rows[%d].read_column is not given, want 0 .. %d (align with speculation cannot imply it)", i, l->cols - 1);
    REFUSE("rows[%d].read_column = %d, want 0 .. %d", i, column, l->cols - 1);
}

static gdn_status explain_rows(const limits *l, const gdn_step *step, int32_t rows, const int32_t *read_column,
                               gdn_error *error)
{
    static const char *const NAMES[] = { "a decode", "a short extend", "a long extend", "a first chunk" };
    int32_t previous = 0;
    for (int32_t i = 0; i < rows; i++) {
        gdn_status status = explain_row(l, step, i, error);
        if (!status) status = explain_column(l, step, i, read_column[i], error);
        if (status) return status;
        int32_t here = region(step->query_len[i], step->seq_len[i], step->prompt_done[i], l->threshold);
        if (here < previous)
            REFUSE("rows[%d] is %s (query_len = %d, seq_len = %d) behind %s, want decodes, short extends, "
                   "long extends, first chunks", i, NAMES[here], step->query_len[i], step->seq_len[i], NAMES[previous]);
        previous = here;
    }
    return GDN_OK;
}

/* Padding that the host wrote itself; what the build made needs no check. */
static gdn_status check_padding(const gdn_settings *settings, const gdn_partition *p, const gdn_step *step,
                                gdn_error *error)
{
    int32_t end = step->rows < step->table_rows ? step->rows : step->table_rows;
    for (int32_t i = p->rows; i < end; i++) {
        int32_t r = step->table_row[i];
        if (step->seq_len[i] != 0) REFUSE("rows[%d].seq_len = %d, want 0 in a padding row", i, step->seq_len[i]);
        if (step->num_draft_tokens[i] != -1)
            REFUSE("rows[%d].num_draft_tokens = %d, want -1 in a padding row", i, step->num_draft_tokens[i]);
        if (r >= step->tables[0].rows || ~r >= (step->own ? step->own[0].rows : 0))
            REFUSE("rows[%d].table_row = %d, want < %d", i, r, step->tables[0].rows);
        for (int32_t g = 0; g < settings->config.num_groups; g++) {
            const gdn_table *t = r < 0 ? &step->own[g] : &step->tables[g];
            const int32_t *cells = t->data + (int64_t)(r < 0 ? ~r : r) * t->stride;
            for (int32_t c = 0; c < settings->window && c < t->cols; c++)
                if (cells[c]) REFUSE("rows[%d] group %d block %d = %d, want 0 in a padding row", i, g, c, cells[c]);
        }
    }
    return GDN_OK;
}

gdn_status gdn_legality_rows(const gdn_cells *cells, const gdn_settings *settings, const gdn_partition *p,
                             const gdn_step *step, gdn_error *error)
{
    limits l = { .spec = settings->config.num_speculative_tokens, .threshold = settings->threshold,
                 .cols = step->tables[0].cols };
    if (!rows_are_fine(&l, step, p->rows, cells->read_column))
        return explain_rows(&l, step, p->rows, cells->read_column, error);
    return check_padding(settings, p, step, error);
}

/* One class of rows within a group: slots it writes, slots it reads. */
typedef struct claim {
    const int32_t *write, *read, *list; /* list: row numbers, NULL: every row */
    int32_t rows, columns;
    int32_t speculative;                /* columns 0 .. num_draft_tokens are written, else column 0 */
} claim;

static inline int32_t row_of(const claim *k, int32_t i)
{
    return k->list ? k->list[i] : i;
}

static inline int32_t written_columns(const claim *k, const gdn_step *step, int32_t i)
{
    return k->speculative ? step->num_draft_tokens[row_of(k, i)] + 1 : 1;
}

static int slots_are_fine(const claim *k, const gdn_step *step, const int32_t *read_column, int32_t slots)
{
    int32_t bad = 0;
    if (!k->speculative) {
        for (int32_t i = 0; i < k->rows; i++) bad |= (k->write[i] < 1) | (k->write[i] >= slots);
    } else {
        for (int32_t i = 0; i < k->rows * k->columns; i++) bad |= (k->write[i] < 0) | (k->write[i] >= slots);
        for (int32_t i = 0; i < k->rows; i++)
            for (int32_t c = 0; c < written_columns(k, step, i); c++) bad |= k->write[i * k->columns + c] == 0;
    }
    for (int32_t i = 0; i < k->rows; i++) {
        int32_t fresh = read_column[row_of(k, i)] < 0;
        bad |= (1 - fresh) & ((k->read[i] < 1) | (k->read[i] >= slots));
    }
    return !bad;
}

static gdn_status explain_slots(const claim *k, const gdn_step *step, const int32_t *read_column, int32_t slots,
                                int32_t group, gdn_error *error)
{
    for (int32_t i = 0; i < k->rows; i++) {
        int32_t row = row_of(k, i), written = written_columns(k, step, i);
        for (int32_t c = 0; c < k->columns; c++) {
            int32_t v = k->write[i * k->columns + c], lowest = c < written;
            if (v < lowest || v >= slots)
                REFUSE("rows[%d] group %d block %d = %d, want %d .. %d (num_slots - 1)", row, group, c, v, lowest,
                       slots - 1);
        }
        if (read_column[row] >= 0 && (k->read[i] < 1 || k->read[i] >= slots))
            REFUSE("rows[%d] group %d block at read_column %d = %d, want 1 .. %d (num_slots - 1)", row, group,
                   read_column[row], k->read[i], slots - 1);
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
    for (int32_t g = 0; g < settings->config.num_groups; g++) {
        const int32_t *slots = cells->slots + (size_t)g * cells->group_stride;
        claim claims[2] = {
            { slots + cells->non_spec, slots + cells->non_spec_read, p->non_spec_rows, p->num_non_spec, 1, 0 },
            { slots + cells->spec, slots + cells->spec_read, p->spec_rows, p->num_spec, p->state_columns, 1 },
        };
        for (int32_t n = 0; n < 2; n++)
            if (!slots_are_fine(&claims[n], step, cells->read_column, settings->num_slots[g]))
                return explain_slots(&claims[n], step, cells->read_column, settings->num_slots[g], g, error);
        gdn_status status = u->seen ? check_unique(claims, u, step, g, error) : GDN_OK;
        if (status) return status;
    }
    return GDN_OK;
}
