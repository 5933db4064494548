/* gdn_build_raw and gdn_capture: arrays of every length, each of them allocated as long as it is said to be. */
#include "case.h"

#include <stdlib.h>
#include <string.h>

typedef struct arrays {
    int32_t *start, *seq, *accepted, *drafts, *done, *read, *tables[FUZZ_MAX_GROUPS];
} arrays;

static int32_t *take(int64_t n)
{
    int32_t *memory = calloc(n > 0 ? (size_t)n : 1, sizeof *memory);
    if (!memory) abort();
    return memory;
}

/* As long as the rows, one off, or none at all: for what refuses it. */
static int32_t some_length(fuzz_bytes *in, int32_t rows)
{
    return fuzz_once_in(in, 48) ? fuzz_between(in, 0, rows + 1) : rows;
}

static int32_t *resized(int32_t *old, int32_t had, int32_t n)
{
    int32_t *memory = take(n);
    memcpy(memory, old, (size_t)(had < n ? had : n) * sizeof *old);
    free(old);
    return memory;
}

static void fill_tables(const fuzz_case *c, fuzz_bytes *in, gdn_raw *raw, arrays *a)
{
    int32_t width = c->config.max_blocks_per_row;
    raw->block_table_cols = fuzz_once_in(in, 16) ? fuzz_between(in, 0, width + 1) : width;
    raw->block_table_stride = raw->block_table_cols + fuzz_between(in, 0, 2);
    for (int32_t g = 0; g < c->config.num_groups; g++) {
        a->tables[g] = take((int64_t)raw->block_table_rows * raw->block_table_stride);
        for (int32_t i = 0; i < raw->block_table_rows; i++)
            fuzz_blocks(in, 1 + i * width, a->tables[g] + i * raw->block_table_stride, raw->block_table_cols);
    }
}

static void spoil(gdn_raw *raw, fuzz_bytes *in)
{
    /* A length is a promise: only one that is refused before it is believed may be wrong. */
    int32_t value = fuzz_wild(in);
    switch (fuzz_between(in, 0, 8)) {
    case 0: raw->num_reqs = value; break;
    case 1: raw->num_actual_tokens = value; break;
    case 2: raw->max_query_len = value; break;
    case 3: raw->size = (uint32_t)value; break;
    case 4: raw->num_query_start_loc = value > 0 ? -value : value; break;
    case 5: raw->query_start_loc = NULL; break;
    case 6: raw->seq_lens = NULL; break;
    case 7: raw->block_tables = NULL; break;
    default: raw->block_table_stride = value < 0 ? value : -1; break;
    }
}

static void step(const fuzz_case *c, fuzz_bytes *in)
{
    int32_t rows = fuzz_between(in, 0, c->config.max_rows), region = 0, tokens = 0, longest = 0;
    arrays a = { take(rows + 1), take(rows), take(rows), take(rows), take(rows), take(rows), { 0 } };
    for (int32_t i = 0; i < rows; i++) {
        fuzz_row row = fuzz_next_row(c, in, &region);
        if (row.query_len < 0 || row.query_len > 1 << 20) row.query_len = 1;
        tokens += row.query_len;
        longest = row.query_len > longest ? row.query_len : longest;
        a.start[i + 1] = fuzz_once_in(in, 96) ? fuzz_wild(in) : tokens;
        a.seq[i] = row.seq_len, a.drafts[i] = row.num_draft_tokens, a.accepted[i] = row.num_accepted_tokens;
        a.done[i] = row.prompt_done, a.read[i] = row.read_column;
    }
    gdn_raw raw = { .size = sizeof raw, .num_reqs = rows, .num_actual_tokens = tokens, .max_query_len = longest,
                    .num_query_start_loc = rows + 1, .num_seq_lens = some_length(in, rows),
                    .num_num_accepted_tokens = some_length(in, rows),
                    .num_num_decode_draft_tokens = some_length(in, rows), .block_table_rows = some_length(in, rows) };
    raw.query_start_loc = a.start;
    raw.seq_lens = a.seq = resized(a.seq, rows, raw.num_seq_lens);
    a.accepted = resized(a.accepted, rows, raw.num_num_accepted_tokens);
    a.drafts = resized(a.drafts, rows, raw.num_num_decode_draft_tokens);
    int32_t given = fuzz_between(in, 0, 255);
    if (!(given & 1)) raw.num_accepted_tokens = a.accepted;
    if (!(given & 2)) raw.num_decode_draft_tokens = a.drafts;
    if (!(given & 4)) raw.prompt_done = a.done;
    if (!(given & 8)) raw.read_column = a.read;
    if (given & 16) raw.num_actual_tokens += fuzz_between(in, 0, 40);
    fill_tables(c, in, &raw, &a);
    raw.block_tables = (const int32_t *const *)a.tables;
    if (fuzz_once_in(in, 16)) spoil(&raw, in);
    if (fuzz_once_in(in, 4)) gdn_builder_poison(c->builder);

    fuzz_seen *before = fuzz_look(c);
    gdn_status (*build)(gdn_builder *, const gdn_raw *, void *) = given & 128 ? gdn_capture : gdn_build_raw;
    fuzz_after(c, before, build(c->builder, &raw, NULL));
    int32_t *const ALL[] = { a.start, a.seq, a.accepted, a.drafts, a.done, a.read };
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++) free(ALL[i]);
    for (int32_t g = 0; g < FUZZ_MAX_GROUPS; g++) free(a.tables[g]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_bytes in = { data, data + size };
    fuzz_case c;
    if (!fuzz_open(&c, &in)) return 0;
    for (int n = 0; n < 4 && (n == 0 || in.at < in.end); n++) step(&c, &in);
    fuzz_close(&c);
    return 0;
}
