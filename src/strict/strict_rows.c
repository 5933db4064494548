/* What `strict` calls legal. Most rows of most steps are decodes: blocks of rows are tested at once for
 * being ordinary, and only the others are checked one by one, with an error message. */
#include "strict/strict.h"

#include "base/simd_range.h"
#include "partition/row_order.h"

typedef struct limits {
    int32_t spec, threshold, cols; /* S, reorder_batch_threshold, columns of a table row */
    int32_t speculative;           /* rows may have drafts, or more than one token */
    int32_t columns;               /* some row names its read column */
} limits;

/* What rows may have besides one token: drafts, or more tokens; and read columns that they name. */
typedef enum extras { NONE, DRAFTS, COLUMNS } extras;

/* Are the n rows at `from` all decodes, speculative or plain, with nothing unusual about them? A literal `extras`
 * leaves out what is known not to be there. */
static inline int are_ordinary(const limits *l, const gdn_step *step, const int32_t *read_column, int32_t from,
                               int32_t n, extras may_have)
{
    uint32_t signs = 0, bits = 0, accepted = 0, lengths = 0, drafts = 0, column = 0;
    for (int32_t i = from; i < from + n; i++) {
        int32_t q = may_have >= DRAFTS ? step->query_len[i] : 1, s = step->seq_len[i];
        signs |= (uint32_t)s | (gdn_above(s, q) - 1);
        bits |= (uint32_t)(step->prompt_done[i] ^ 1);
        accepted = gdn_larger(accepted, gdn_above(step->num_accepted_tokens[i], 1));
        if (may_have >= DRAFTS) {
            int32_t d = step->num_draft_tokens[i];
            lengths = gdn_larger(lengths, gdn_above(q, 1));
            drafts = gdn_larger(drafts, gdn_above(d, -1));
            bits |= d == -1 ? 0 : gdn_above(d, q) + 1;
        }
        if (may_have == COLUMNS) column = gdn_larger(column, gdn_above(read_column[i], 0));
    }
    return !((signs >> 31) | bits) & (accepted <= (uint32_t)l->spec) & (lengths < (uint32_t)l->threshold) &
           (drafts <= (uint32_t)l->spec + 1) & (column < (uint32_t)l->cols);
}

static inline int block_is_ordinary(const limits *l, const gdn_step *step, const int32_t *read_column, int32_t from,
                                    int32_t n)
{
    if (l->columns) return are_ordinary(l, step, read_column, from, n, COLUMNS);
    if (l->speculative) return are_ordinary(l, step, read_column, from, n, DRAFTS);
    return are_ordinary(l, step, read_column, from, n, NONE);
}

/* Past rows from `from` on, as long as whole blocks of them are ordinary. */
static inline int32_t skip_ordinary(const limits *l, const gdn_step *step, const int32_t *read_column, int32_t from,
                                    int32_t rows, int32_t block)
{
    while (from + block <= rows && block_is_ordinary(l, step, read_column, from, block)) from += block;
    return from;
}

GDN_WIDE static int32_t count_ordinary(const limits *l, const gdn_step *step, const int32_t *read_column, int32_t rows)
{
    int32_t all = rows & ~(GDN_VECTOR - 1), i = block_is_ordinary(l, step, read_column, 0, all) ? all : 0;
    int32_t vectors = skip_ordinary(l, step, read_column, i, rows, GDN_VECTOR);
    return skip_ordinary(l, step, read_column, vectors, rows, GDN_FEW);
}

static gdn_status validate_row(const limits *l, const gdn_step *step, int32_t i, gdn_error *error)
{
    int32_t q = step->query_len[i], s = step->seq_len[i], d = step->num_draft_tokens[i];
    int32_t a = step->num_accepted_tokens[i], done = step->prompt_done[i];
    if (q < 1) GDN_REFUSE(error, "rows[%d].query_len = %d, want >= 1 (only padding at the back is empty)", i, q);
    if (s < q) GDN_REFUSE(error, "rows[%d].seq_len = %d, want >= query_len = %d", i, s, q);
    if (d < -1 || d > l->spec) GDN_REFUSE(error, "rows[%d].num_draft_tokens = %d, want -1 .. %d", i, d, l->spec);
    if (a < 1 || a > l->spec + 1)
        GDN_REFUSE(error, "rows[%d].num_accepted_tokens = %d, want 1 .. %d", i, a, l->spec + 1);
    if (done & ~1) GDN_REFUSE(error, "rows[%d].prompt_done = %d, want 0 or 1", i, done);
    if (d >= 0 && q != d + 1) GDN_REFUSE(error, "rows[%d].query_len = %d, want num_draft_tokens + 1 = %d", i, q, d + 1);
    if (d >= 0 && !done) GDN_REFUSE(error, "rows[%d].prompt_done = 0, want 1 (num_draft_tokens = %d)", i, d);
    if (d >= 0 && s == q)
        GDN_REFUSE(error, "rows[%d].seq_len = %d, want > query_len = %d in a speculative row", i, s, q);
    return GDN_OK;
}

static gdn_status validate_column(const limits *l, const gdn_step *step, int32_t i, int32_t column, gdn_error *error)
{
    int32_t fresh = step->seq_len[i] == step->query_len[i];
    if (fresh ? column == -1 : column >= 0 && column < l->cols) return GDN_OK;
    if (fresh)
        GDN_REFUSE(error, "rows[%d].read_column = %d, want -1 (nothing is computed yet)", i, column);
    if (column == GDN_READ_DEFAULT)
        GDN_REFUSE(error,
                   "rows[%d].read_column = %d (not given), want 0 .. %d (align with speculation cannot imply it)", i,
                   column, l->cols - 1);
    GDN_REFUSE(error, "rows[%d].read_column = %d, want 0 .. %d", i, column, l->cols - 1);
}

/* Rows in front of `from` are decodes. */
static gdn_status validate_rows(const limits *l, const gdn_step *step, int32_t from, int32_t rows,
                                const int32_t *read_column, gdn_error *error)
{
    static const char *const NAMES[] = { "a decode", "a short extend", "a long extend", "a first chunk" };
    int32_t previous = 0;
    for (int32_t i = from; i < rows; i++) {
        gdn_status status = validate_row(l, step, i, error);
        if (!status) status = validate_column(l, step, i, read_column[i], error);
        if (status) return status;
        int32_t here = gdn_row_order(step->query_len[i], step->seq_len[i] == step->query_len[i], step->prompt_done[i],
                                  l->threshold);
        if (here < previous)
            GDN_REFUSE(error, "rows[%d] is %s (query_len = %d, seq_len = %d) after %s, want decodes, short extends, "
                   "long extends, first chunks", i, NAMES[here], step->query_len[i], step->seq_len[i], NAMES[previous]);
        previous = here;
    }
    return GDN_OK;
}

/* Padding that the host wrote itself; what the build made needs no check. */
static gdn_status validate_padding(const gdn_partition *p, const gdn_step *step, gdn_error *error)
{
    for (int32_t i = p->rows; i < step->table_rows; i++) {
        if (step->seq_len[i] != 0)
            GDN_REFUSE(error, "rows[%d].seq_len = %d, want 0 in a padding row", i, step->seq_len[i]);
        if (step->num_draft_tokens[i] != -1)
            GDN_REFUSE(error, "rows[%d].num_draft_tokens = %d, want -1 in a padding row", i, step->num_draft_tokens[i]);
    }
    return GDN_OK;
}

gdn_status gdn_strict_rows(const gdn_state_indices *indices, const gdn_settings *settings, const gdn_partition *p,
                             const gdn_step *step, gdn_error *error)
{
    limits l = { .spec = settings->config.num_speculative_tokens,
                 .threshold = settings->threshold,
                 .cols = step->tables[0].cols,
                 .speculative = p->any_drafts_given,
                 .columns = indices->any_reads_given };
    int32_t decodes = p->speculative ? p->rows : p->num_decodes;
    int32_t ordinary = count_ordinary(&l, step, indices->read_column, decodes);
    gdn_status status = validate_rows(&l, step, ordinary, p->rows, indices->read_column, error);
    if (!status) status = validate_padding(p, step, error);
    if (!status && p->checkpoints_asked) status = gdn_strict_checkpoints(settings, p, step, error);
    return status;
}
