/* Row arrays of a step, written by scripts through bare pointers and checked here. */
#include "input/batch.h"

#include "base/guarded_memory.h"

#include <stdlib.h>
#include <string.h>

enum { ROW_ARRAYS = 9, HOST_ARRAYS = 7 }; /* those behind the first seven are for device inputs alone */

typedef struct batch {
    gdn_batch face; /* first: a gdn_batch * is a batch * */
    uint64_t owner;
    size_t blocks_bytes;
    int32_t *arrays[ROW_ARRAYS]; /* the originals of face's pointers, which are only const to well-behaved code */
    int32_t *blocks;
    gdn_table own[GDN_MAX_GROUPS];
} batch;

static const char *const ARRAY_NAMES[ROW_ARRAYS] = { "query_len",   "seq_len",   "num_draft_tokens", "num_accepted_tokens",
                                                     "prompt_done", "table_row", "read_column", "seq_index", "accepted_index" };

gdn_status gdn_batch_make(const gdn_settings *settings, uint64_t owner, gdn_batch **out)
{
    const gdn_config *c = &settings->config;
    size_t rows = (size_t)c->max_rows, cols = (size_t)c->max_blocks_per_row;
    batch *b = calloc(1, sizeof *b);
    if (!b) return GDN_ENOMEM;

    int missing = 0;
    int arrays = c->device == GDN_DEVICE_CPU ? HOST_ARRAYS : ROW_ARRAYS;
    for (int i = 0; i < arrays; i++) missing |= !(b->arrays[i] = gdn_guarded_new(rows * sizeof *b->arrays[i]));
    b->blocks_bytes = (size_t)c->num_groups * rows * cols * sizeof *b->blocks;
    missing |= !(b->blocks = gdn_guarded_new(b->blocks_bytes));

    gdn_batch face = { .query_len = b->arrays[0], .seq_len = b->arrays[1], .num_draft_tokens = b->arrays[2],
                       .num_accepted_tokens = b->arrays[3], .prompt_done = b->arrays[4], .table_row = b->arrays[5],
                       .read_column = b->arrays[6], .blocks = b->blocks, .seq_index = b->arrays[7],
                       .accepted_index = b->arrays[8], .max_rows = c->max_rows,
                       .max_blocks_per_row = c->max_blocks_per_row, .num_groups = c->num_groups };
    memcpy(&b->face, &face, sizeof face);
    if (missing) {
        gdn_batch_free(&b->face);
        return GDN_ENOMEM;
    }
    b->owner = owner;
    for (int32_t g = 0; g < c->num_groups; g++)
        b->own[g] = (gdn_table){ .data = b->blocks + (size_t)g * rows * cols, .stride = c->max_blocks_per_row,
                                 .rows = c->max_rows, .cols = c->max_blocks_per_row };
    *out = &b->face;
    return GDN_OK;
}

void gdn_batch_free(gdn_batch *face)
{
    batch *b = (batch *)face;
    if (!b) return;
    for (int i = 0; i < ROW_ARRAYS; i++) gdn_guarded_free(b->arrays[i]);
    gdn_guarded_free(b->blocks);
    free(b);
}

static gdn_status check_guards(const batch *b, gdn_error *error)
{
    size_t bytes = (size_t)b->face.max_rows * sizeof(int32_t);
    int arrays = b->face.indexed && b->arrays[HOST_ARRAYS] ? ROW_ARRAYS : HOST_ARRAYS;
    for (int i = 0; i < arrays; i++)
        if (!gdn_guarded_intact(b->arrays[i], bytes))
            return gdn_fail(error, GDN_EGUARD, "something wrote outside of batch.%s[0 .. %d]", ARRAY_NAMES[i],
                            b->face.max_rows - 1);
    if (!gdn_guarded_intact(b->blocks, b->blocks_bytes))
        return gdn_fail(error, GDN_EGUARD, "something wrote outside of batch.blocks[0 .. %zu]",
                        b->blocks_bytes / sizeof(int32_t) - 1);
    return GDN_OK;
}

static gdn_status check_counts(const gdn_batch *f, gdn_error *error)
{
    if (f->num_rows < 0 || f->num_rows > f->max_rows)
        return gdn_fail(error, GDN_ECAP, "num_rows = %d, want 0 .. %d", f->num_rows, f->max_rows);
    if (f->padded_rows && (f->padded_rows < f->num_rows || f->padded_rows > f->max_rows))
        return gdn_fail(error, GDN_ECAP, "padded_rows = %d, want %d .. %d", f->padded_rows, f->num_rows, f->max_rows);
    if (f->padded_tokens < 0)
        return gdn_fail(error, GDN_EINVAL, "padded_tokens = %d, want >= 0", f->padded_tokens);
    return GDN_OK;
}

static void make_padding_rows(const batch *b, int32_t from, int32_t to)
{
    static const int32_t PADDING[HOST_ARRAYS] = { 0, 0, -1, 1, 0, 0, -1 };
    for (int a = 0; a < HOST_ARRAYS; a++)
        for (int32_t i = from; i < to; i++) b->arrays[a][i] = PADDING[a];
}

gdn_status gdn_batch_step(gdn_batch *face, uint64_t owner, const gdn_table *tables, gdn_step *out, gdn_error *error)
{
    const batch *b = (const batch *)face;
    if (b->owner != owner) return gdn_fail(error, GDN_EINVAL, "the batch belongs to another builder");
    gdn_status status = check_guards(b, error);
    if (!status) status = check_counts(face, error);
    if (status) return status;

    int32_t rows = face->padded_rows ? face->padded_rows : face->num_rows;
    make_padding_rows(b, face->num_rows, rows);
    *out = (gdn_step){ .query_len = b->arrays[0], .seq_len = b->arrays[1], .num_draft_tokens = b->arrays[2],
                       .num_accepted_tokens = b->arrays[3], .prompt_done = b->arrays[4], .table_row = b->arrays[5],
                       .read_column = b->arrays[6], .tables = tables, .own = b->own, .rows = rows,
                       .table_rows = face->num_rows, .num_reqs = rows, .from_batch = 1, .accepted_rows = rows, .max_query_len = -1,
                       .num_actual_tokens = face->padded_tokens ? face->padded_tokens : -1,
                       .seq_index = face->indexed ? b->arrays[7] : NULL,
                       .accepted_index = face->indexed ? b->arrays[8] : NULL };
    return GDN_OK;
}
