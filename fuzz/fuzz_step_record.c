/* Records of workers: bytes that are anything at all, and records whose checksum was made right again after some bytes
 * were changed. What is accepted is read to its ends, goes into a builder or is refused, and packs to equal bytes. */
#include "case.h"

#include "worker/record.h"

#include <stdlib.h>
#include <string.h>

enum { ROOM = 1 << 16 };

static uint64_t sum_of(const void *from, size_t bytes)
{
    const unsigned char *at = from;
    uint64_t sum = bytes;
    for (size_t i = 0; i < bytes; i++) sum = sum * 31 + at[i];
    return sum;
}

/* Every element of every array. */
static uint64_t read_step(const gdn_step_record *s)
{
    size_t rows = (size_t)s->num_rows, groups = rows * (size_t)s->num_groups, sum = 0;
    const int32_t *of_rows[] = { s->query_len, s->seq_len, s->drafts, s->accepted_tokens, s->prompt_done, s->table_row,
                                 s->read_column, s->checkpoint_len, s->samples };
    for (size_t a = 0; a < sizeof of_rows / sizeof *of_rows; a++) sum += sum_of(of_rows[a], 4 * rows);
    sum += sum_of(s->temperature, 4 * rows) + sum_of(s->top_p, 4 * rows);
    sum += sum_of(s->request, 8 * rows) + sum_of(s->seed, 8 * rows);
    sum += sum_of(s->slots, 4 * groups * (size_t)s->columns) + sum_of(s->read_slots, 4 * groups);
    sum += sum_of(s->checkpoint_slot, 4 * groups) + sum_of(s->tokens, 4 * (size_t)s->num_tokens);
    return sum + sum_of(s->table_changes, 12 * (size_t)s->num_table_changes) +
           sum_of(s->kv_copies, 8 * (size_t)s->num_kv_copies);
}

static void try_step(const fuzz_case *c, gdn_batch *batch, const void *record, int64_t bytes, const gdn_hello *limits)
{
    gdn_step_record step;
    char why[300] = "";
    if (gdn_step_unpack(record, bytes, limits, &step, why, sizeof why)) {
        FUZZ_WANT(why[0], "a step was refused without a reason");
        return;
    }
    (void)read_step(&step);
    void *again = malloc((size_t)bytes);
    int32_t packed = gdn_step_pack(&step, limits, again, bytes, why, sizeof why);
    FUZZ_WANT(packed == bytes && !memcmp(again, record, (size_t)bytes), "a step packs to other bytes: %s", why);
    free(again);
    if (gdn_step_batch(&step, c->builder, batch, why, sizeof why)) return;
    fuzz_seen *before = fuzz_look(c);
    fuzz_after(c, before, gdn_build(c->builder, batch, NULL));
}

static void try_result(const void *record, int64_t bytes)
{
    gdn_result_record result;
    char why[300] = "";
    if (gdn_result_unpack(record, bytes, &result, why, sizeof why)) {
        FUZZ_WANT(why[0], "a result was refused without a reason");
        return;
    }
    FUZZ_WANT(strlen(result.text) == (size_t)result.text_bytes, "a text of another length");
    size_t rows = (size_t)result.num_rows, tokens = (size_t)result.num_tokens, drafts = (size_t)result.num_drafts;
    int32_t *copy = malloc(4 * (2 * rows + tokens + drafts + 1));
    gdn_result_copy(&result, copy, copy + rows, copy + rows + tokens, copy + 2 * rows + tokens);
    free(copy);
    void *again = malloc((size_t)bytes);
    int32_t packed = gdn_result_pack(&result, again, bytes, why, sizeof why);
    FUZZ_WANT(packed == bytes && !memcmp(again, record, (size_t)bytes), "a result packs to other bytes: %s", why);
    free(again);
}

static void try_hello(const void *record, int64_t bytes)
{
    gdn_hello hello;
    char why[300] = "";
    if (gdn_hello_unpack(record, bytes, &hello, why, sizeof why)) {
        FUZZ_WANT(why[0], "a hello was refused without a reason");
        return;
    }
    (void)sum_of(hello.config.num_slots, 4 * (size_t)hello.config.num_groups);
    void *again = malloc((size_t)bytes);
    int32_t packed = gdn_hello_pack(&hello, again, bytes, why, sizeof why);
    FUZZ_WANT(packed == bytes && !memcmp(again, record, (size_t)bytes), "a hello packs to other bytes: %s", why);
    free(again);
    FUZZ_WANT(gdn_step_bytes(&hello) > 0 && gdn_result_bytes(&hello) > 0, "a hello without sizes");
}

/* A block of its own, so that a sanitizer sees a read past the end; the head is made right, or left alone. */
static void try_bytes(const fuzz_case *c, gdn_batch *batch, const gdn_hello *limits, const void *from, int64_t bytes,
                      uint32_t magic)
{
    gdn_record_head *record = malloc(bytes > 0 ? (size_t)bytes : 1);
    if (bytes > 0) memcpy(record, from, (size_t)bytes);
    if (magic && bytes >= (int64_t)sizeof *record && bytes % 8 == 0) {
        record->magic = magic, record->bytes = bytes;
        gdn_record_seal(record);
    }
    try_step(c, batch, record, bytes, limits);
    try_step(c, batch, record, bytes, NULL);
    try_result(record, bytes);
    try_hello(record, bytes);
    free(record);
}

/* A step of the builder's, with rows that it may like. */
static int32_t make_step(const fuzz_case *c, fuzz_bytes *in, gdn_batch *batch, const gdn_hello *hello, void *out)
{
    enum { ROWS = 12, TOKENS = 4096, GROUP_ROWS = ROWS * FUZZ_MAX_GROUPS };
    static int64_t request[ROWS];
    static uint64_t seed[ROWS];
    static int32_t samples[ROWS], tokens[TOKENS];
    static float temperature[ROWS], top_p[ROWS];
    int32_t *tables[FUZZ_MAX_GROUPS] = { 0 }, region = 0, changes[] = { 0, 0, 1 }, n = fuzz_between(in, 0, ROWS);
    gdn_step_record rest = { .number = 1, .kind = GDN_STEP_ROWS, .request = request, .seed = seed, .samples = samples,
                             .temperature = temperature, .top_p = top_p, .tokens = tokens, .table_changes = changes };
    for (int32_t g = 0; g < c->config.num_groups; g++) tables[g] = gdn_builder_table(c->builder, g);
    batch->num_rows = batch->padded_rows = batch->padded_tokens = 0;
    n = n < c->config.max_rows ? n : c->config.max_rows;
    for (int32_t i = 0; i < n; i++) fuzz_push(c, in, batch, tables, &region);
    int64_t sum = 0;
    for (int32_t i = 0; i < batch->num_rows; i++) sum += batch->query_len[i], top_p[i] = 1, samples[i] = 1;
    if (sum < 0 || sum > TOKENS) return 0;
    rest.num_tokens = (int32_t)sum, rest.num_table_changes = hello->kv_columns && batch->num_rows ? 1 : 0;
    return gdn_step_pack_batch(c->builder, batch, &rest, hello, out, ROOM, NULL, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint64_t memory[ROOM / 8];
    static const uint32_t MAGIC[] = { 0, GDN_STEP_MAGIC, GDN_RESULT_MAGIC };
    fuzz_bytes in = { data, data + size };
    fuzz_case c;
    gdn_batch *batch = NULL;
    gdn_hello hello;
    if (!fuzz_open(&c, &in)) return 0;
    if (gdn_batch_new(c.builder, &batch) || gdn_hello_init(c.builder, &hello)) abort();
    if (fuzz_between(&in, 0, 1)) hello.kv_blocks = 9, hello.kv_block_size = 4, hello.kv_columns = 5;
    int32_t kind = fuzz_between(&in, 0, 3), bytes = 0;
    uint32_t magic = MAGIC[fuzz_between(&in, 0, 2)];
    if (kind == 0) bytes = make_step(&c, &in, batch, &hello, memory), magic = GDN_STEP_MAGIC;
    if (kind == 1) bytes = gdn_hello_pack(&hello, memory, ROOM, NULL, 0), magic = GDN_STEP_MAGIC;
    if (bytes > 0) {
        for (int32_t n = fuzz_between(&in, 0, 3); n > 0; n--) {
            int32_t at = fuzz_between(&in, 0, bytes / 4 - 1), value = fuzz_wild(&in);
            memcpy((char *)memory + 4 * (size_t)at, &value, 4);
        }
        try_bytes(&c, batch, &hello, memory, bytes, magic);
    } else {
        try_bytes(&c, batch, &hello, in.at, in.end - in.at, magic);
    }
    gdn_batch_free(batch);
    fuzz_close(&c);
    return 0;
}
