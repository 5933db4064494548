/* gdn_build: a few steps of one builder, in its own table, a borrowed one, or the batch's rows of blocks. */
#include "case.h"

#include <stdlib.h>

/* Each group's table: the builder's, or memory of ours that ends where the table ends. */
static void choose_tables(const fuzz_case *c, fuzz_bytes *in, int32_t *tables[], int32_t *borrowed[])
{
    int32_t rows = c->config.max_requests, cols = c->config.max_blocks_per_row;
    for (int32_t g = 0; g < c->config.num_groups; g++) {
        borrowed[g] = NULL;
        tables[g] = gdn_builder_table(c->builder, g);
        FUZZ_WANT(tables[g], "group %d has no table", g);
        if (!fuzz_once_in(in, 3)) continue;
        int32_t stride = cols + fuzz_between(in, 0, 2), wanted = fuzz_once_in(in, 8) ? fuzz_wild(in) : rows;
        borrowed[g] = calloc((size_t)rows * (size_t)stride, sizeof **borrowed);
        if (!borrowed[g]) abort();
        if (wanted > rows) wanted = rows;
        gdn_status status = gdn_builder_borrow_table(c->builder, g, borrowed[g], stride, wanted);
        FUZZ_WANT(!status == (wanted >= 1), "%d rows of a table of the host's give %d", wanted, status);
        if (!status && stride == cols) tables[g] = borrowed[g];
        if (!status && stride != cols) (void)gdn_builder_borrow_table(c->builder, g, NULL, 0, 0);
    }
}

static void step(const fuzz_case *c, fuzz_bytes *in, gdn_batch *batch, int32_t *tables[])
{
    int32_t region = 0, own = fuzz_between(in, 0, 1);
    batch->num_rows = 0;
    for (int32_t n = fuzz_between(in, 0, batch->max_rows); n > 0; n--)
        fuzz_push(c, in, batch, own ? NULL : tables, &region);
    batch->padded_rows = fuzz_once_in(in, 3) ? fuzz_between(in, batch->num_rows, batch->max_rows) : 0;
    batch->padded_tokens = fuzz_once_in(in, 3) ? fuzz_between(in, 0, c->config.max_num_batched_tokens) : 0;
    int32_t rows = batch->num_rows;
    int32_t *const COUNTS[] = { &batch->num_rows, &batch->padded_rows, &batch->padded_tokens, &batch->indexed };
    if (fuzz_once_in(in, 24)) *COUNTS[fuzz_between(in, 0, 3)] = fuzz_wild(in);
    if (fuzz_once_in(in, 4)) gdn_builder_poison(c->builder);
    fuzz_seen *before = fuzz_look(c);
    fuzz_after(c, before, gdn_build(c->builder, batch, NULL));
    batch->num_rows = rows;
    batch->indexed = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_bytes in = { data, data + size };
    int32_t *tables[FUZZ_MAX_GROUPS] = { 0 }, *borrowed[FUZZ_MAX_GROUPS] = { 0 };
    gdn_batch *batch = NULL;
    fuzz_case c;
    if (!fuzz_open(&c, &in)) return 0;
    if (gdn_batch_new(c.builder, &batch)) abort();
    choose_tables(&c, &in, tables, borrowed);
    for (int n = 0; n < 4 && (n == 0 || in.at < in.end); n++) step(&c, &in, batch, tables);
    gdn_batch_free(batch);
    fuzz_close(&c);
    for (int32_t g = 0; g < FUZZ_MAX_GROUPS; g++) free(borrowed[g]);
    return 0;
}
