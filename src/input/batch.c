/* Row arrays of a step, written by scripts through bare pointers and checked here. */
#include "input/batch.h"

#include "base/guarded_memory.h"

#include <stdlib.h>
#include <string.h>

/* X(array of gdn_batch, what a padding row has there). Those for device inputs alone come last: no build pads them. */
#define HOST_ARRAYS(X)        \
    X(query_len, 0)           \
    X(seq_len, 0)             \
    X(num_draft_tokens, -1)   \
    X(num_accepted_tokens, 1) \
    X(prompt_done, 0)         \
    X(table_row, 0)           \
    X(read_column, -1)        \
    X(checkpoint_len, 0)
#define DEVICE_ARRAYS(X) \
    X(seq_index, none)   \
    X(accepted_index, none)

#define X(name, padding) AT_##name,
enum { HOST_ARRAYS(X) NUM_HOST_ARRAYS, LAST_OF_HOST = NUM_HOST_ARRAYS - 1, DEVICE_ARRAYS(X) NUM_ARRAYS };
#undef X

typedef struct batch {
    gdn_batch public; /* first: a gdn_batch * is a batch * */
    uint64_t owner;
    size_t blocks_bytes;
    int32_t *arrays[NUM_ARRAYS]; /* the originals of public's pointers, which are only const to well-behaved code */
    int32_t *blocks, *checkpoint_slot;
    size_t slots_bytes;
    gdn_table own[GDN_MAX_GROUPS];
} batch;

#define X(name, padding) #name,
static const char *const ARRAY_NAMES[NUM_ARRAYS] = { HOST_ARRAYS(X) DEVICE_ARRAYS(X) };
#undef X

gdn_status gdn_batch_make(const gdn_settings *settings, uint64_t owner, gdn_batch **out)
{
    const gdn_config *c = &settings->config;
    size_t rows = (size_t)c->max_rows, cols = (size_t)c->max_blocks_per_row;
    batch *b = calloc(1, sizeof *b);
    if (!b) return GDN_ENOMEM;

    int missing = 0;
    int arrays = c->device == GDN_DEVICE_CPU ? NUM_HOST_ARRAYS : NUM_ARRAYS;
    for (int i = 0; i < arrays; i++) missing |= !(b->arrays[i] = gdn_guarded_new(rows * sizeof *b->arrays[i]));
    b->blocks_bytes = (size_t)c->num_groups * rows * cols * sizeof *b->blocks;
    missing |= !(b->blocks = gdn_guarded_new(b->blocks_bytes));
    b->slots_bytes = (size_t)c->num_groups * rows * sizeof *b->checkpoint_slot;
    missing |= !(b->checkpoint_slot = gdn_guarded_new(b->slots_bytes));

#define X(name, padding) .name = b->arrays[AT_##name],
    gdn_batch public = { HOST_ARRAYS(X) DEVICE_ARRAYS(X) .blocks = b->blocks, .checkpoint_slot = b->checkpoint_slot,
                       .max_rows = c->max_rows,
                       .max_blocks_per_row = c->max_blocks_per_row, .num_groups = c->num_groups };
#undef X
    memcpy(&b->public, &public, sizeof public);
    if (missing) {
        gdn_batch_free(&b->public);
        return GDN_ENOMEM;
    }
    b->owner = owner;
    for (int32_t g = 0; g < c->num_groups; g++)
        b->own[g] = (gdn_table){ .data = b->blocks + (size_t)g * rows * cols, .stride = c->max_blocks_per_row,
                                 .rows = c->max_rows, .cols = c->max_blocks_per_row };
    *out = &b->public;
    return GDN_OK;
}

void gdn_batch_free(gdn_batch *public)
{
    batch *b = (batch *)public;
    if (!b) return;
    for (int i = 0; i < NUM_ARRAYS; i++) gdn_guarded_free(b->arrays[i]);
    gdn_guarded_free(b->blocks);
    gdn_guarded_free(b->checkpoint_slot);
    free(b);
}

static gdn_status check_guards(const batch *b, gdn_error *error)
{
    size_t bytes = (size_t)b->public.max_rows * sizeof(int32_t);
    int arrays = b->public.indexed && b->arrays[NUM_HOST_ARRAYS] ? NUM_ARRAYS : NUM_HOST_ARRAYS;
    int damaged = gdn_guarded_damaged(b->arrays, arrays, bytes);
    if (damaged >= 0)
        return gdn_fail(error, GDN_EGUARD, "something wrote outside batch.%s[0 .. %d]", ARRAY_NAMES[damaged],
                        b->public.max_rows - 1);
    if (!gdn_guarded_intact(b->blocks, b->blocks_bytes))
        return gdn_fail(error, GDN_EGUARD, "something wrote outside batch.blocks[0 .. %zu]",
                        b->blocks_bytes / sizeof(int32_t) - 1);
    if (!gdn_guarded_intact(b->checkpoint_slot, b->slots_bytes))
        return gdn_fail(error, GDN_EGUARD, "something wrote outside batch.checkpoint_slot[0 .. %zu]",
                        b->slots_bytes / sizeof(int32_t) - 1);
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
#define X(name, padding) padding,
    static const int32_t PADDING[NUM_HOST_ARRAYS] = { HOST_ARRAYS(X) };
#undef X
    for (int a = 0; a < NUM_HOST_ARRAYS; a++)
        for (int32_t i = from; i < to; i++) b->arrays[a][i] = PADDING[a];
}

gdn_status gdn_batch_step(gdn_batch *public, uint64_t owner, const gdn_table *tables, gdn_step *out, gdn_error *error)
{
    const batch *b = (const batch *)public;
    if (b->owner != owner) return gdn_fail(error, GDN_EINVAL, "the batch belongs to another builder");
    gdn_status status = check_guards(b, error);
    if (!status) status = check_counts(public, error);
    if (status) return status;

    int32_t rows = public->padded_rows ? public->padded_rows : public->num_rows;
    make_padding_rows(b, public->num_rows, rows);
#define X(name, padding) .name = b->arrays[AT_##name],
    *out = (gdn_step){ HOST_ARRAYS(X) .tables = tables, .own = b->own, .checkpoint_slot = b->checkpoint_slot,
                       .rows = rows, .table_rows = public->num_rows,
                       .num_reqs = rows, .from_batch = 1, .accepted_rows = rows, .max_query_len = -1,
                       .num_actual_tokens = public->padded_tokens ? public->padded_tokens : -1 };
#undef X
    if (!public->indexed) return GDN_OK;
    out->seq_index = b->arrays[AT_seq_index];
    out->accepted_index = b->arrays[AT_accepted_index];
    return GDN_OK;
}
