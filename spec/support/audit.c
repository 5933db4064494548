/* Builds steps of every kind, to be watched while it does: spec/audit.sh runs it.
 *   audit <builds> [faulty|checked]   faulty: each build also allocates and makes a system call;
 *                                     checked: each build checks and poisons its outputs
 * Prints how often the allocator was called since the program started. The functions below stand
 * in front of libc's for everything in the process, the library and libc itself included. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "push_row.h"

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *p);

static int64_t calls;

void *malloc(size_t size) { calls++; return __libc_malloc(size); }
void *calloc(size_t n, size_t size) { calls++; return __libc_calloc(n, size); }
void *realloc(void *p, size_t size) { calls++; return __libc_realloc(p, size); }
void *memalign(size_t alignment, size_t size) { calls++; return __libc_memalign(alignment, size); }
void *aligned_alloc(size_t alignment, size_t size) { calls++; return __libc_memalign(alignment, size); }
void free(void *p) { calls++; __libc_free(p); }

int posix_memalign(void **out, size_t alignment, size_t size)
{
    calls++;
    *out = __libc_memalign(alignment, size);
    return *out ? 0 : ENOMEM;
}

enum { S = 3, ROWS = 64, KINDS = 7 };

static void die(const char *what, const char *why)
{
    fprintf(stderr, "audit: %s: %s\n", what, why);
    exit(2);
}

/* `salt` changes lengths from step to step, so that tails are padded again. Returns what the build
 * must say. */
static int32_t fill(gdn_batch *batch, int32_t kind, int32_t salt)
{
    int32_t rows = 1 + salt % 24;
    batch->num_rows = batch->padded_rows = batch->padded_tokens = 0;
    switch (kind) {
    case 0: /* decodes */
        for (int32_t i = 0; i < rows; i++) push_row(batch, 1, 100 + i, -1);
        break;
    case 1: /* decodes, padded */
        for (int32_t i = 0; i < rows; i++) push_row(batch, 1, 100 + i, -1);
        batch->padded_rows = batch->padded_tokens = rows + salt % 8;
        break;
    case 2: /* decodes, then prefills that go on and that begin */
        for (int32_t i = 0; i < rows; i++) push_row(batch, 1, 100 + i, -1);
        push_row(batch, 70, 128, -1);
        push_row(batch, 65 + salt, 0, -1);
        break;
    case 3: /* speculative rows alone, padded */
        for (int32_t i = 0; i < rows; i++) push_row(batch, 1 + S, 100 + i, S);
        batch->padded_rows = rows + salt % 8;
        batch->padded_tokens = batch->padded_rows * (1 + S);
        break;
    case 4: /* speculative rows, plain decodes and prefills */
        for (int32_t i = 0; i < rows; i++) push_row(batch, i % 3 ? 1 + S : 1, 100 + i, i % 3 ? S : -1);
        push_row(batch, 1 + S, 50, S);
        push_row(batch, 70, 128, -1);
        push_row(batch, 65 + salt, 0, -1);
        break;
    case 5: /* refused: an empty row among the others */
        for (int32_t i = 0; i < rows; i++) push_row(batch, 1, 100 + i, -1);
        push_row(batch, 0, 100, -1);
        push_row(batch, 1, 100, -1);
        return GDN_EINVAL;
    default: /* refused: more tokens than the builder holds */
        push_row(batch, INT32_MAX - 1, 0, -1);
        return GDN_ECAP;
    }
    return GDN_OK;
}

/* A decode step through the raw entry points; capture takes the same arguments. */
static gdn_raw raw_step(int32_t rows, int32_t *qsl, int32_t *seq, int32_t *table, const int32_t **tables)
{
    for (int32_t i = 0; i < rows; i++) {
        qsl[i + 1] = i + 1;
        seq[i] = 100 + i;
        table[i * (S + 1)] = i + 1;
    }
    tables[0] = table;
    return (gdn_raw){ .size = sizeof(gdn_raw), .num_reqs = rows, .num_actual_tokens = rows, .max_query_len = 1,
                      .query_start_loc = qsl, .num_query_start_loc = rows + 1, .seq_lens = seq,
                      .num_seq_lens = rows, .block_tables = tables, .block_table_rows = rows,
                      .block_table_cols = S + 1, .block_table_stride = S + 1 };
}

typedef struct pair {
    gdn_builder *builder;
    gdn_batch *batch;
} pair;

static pair pair_new(gdn_config config, int32_t full_cuda_graph)
{
    pair b;
    char why[256];
    config.full_cuda_graph = full_cuda_graph;
    if (gdn_builder_new(&config, &b.builder, why, sizeof why) != GDN_OK) die("gdn_builder_new", why);
    if (gdn_batch_new(b.builder, &b.batch) != GDN_OK) die("gdn_batch_new", gdn_last_error(b.builder));
    int32_t *table = gdn_builder_table(b.builder, 0);
    for (int32_t i = 0; i < ROWS * (S + 1); i++) table[i] = i + 1;
    return b;
}

/* A step of a bucket, or its empty one; what the build must say. */
static int32_t build_in_bucket(pair *b, const gdn_raw *raw, int32_t kind, int32_t salt, int32_t *want)
{
    *want = GDN_OK;
    if (kind == KINDS + 1) return gdn_capture_bucket(b->builder, ROWS, 1 + salt, NULL);
    if (kind == KINDS) {
        *want = GDN_EINVAL;
        return gdn_build_raw(b->builder, raw, NULL);
    }
    *want = fill(b->batch, kind, salt);
    if (salt % 2) b->batch->padded_rows = ROWS, b->batch->padded_tokens = salt % 4 == 1 ? 512 : 1024;
    return gdn_build(b->builder, b->batch, NULL);
}

int main(int argc, char **argv)
{
    long builds = argc > 1 ? strtol(argv[1], NULL, 10) : 0;
    int faulty = argc > 2 && strcmp(argv[2], "faulty") == 0, checked = argc > 2 && strcmp(argv[2], "checked") == 0;
    char why[256];
    gdn_config config = { .size = sizeof config, .rules = GDN_RULES_STRICT, .device = GDN_DEVICE_CPU,
                          .max_num_seqs = ROWS, .max_num_batched_tokens = 8192, .num_speculative_tokens = S,
                          .max_cudagraph_capture_size = 512, .mamba_block_size = 544,
                          .num_groups = 1, .check_unique = 1, .check = checked, .poison = checked };
    pair decodes = pair_new(config, GDN_GRAPH_DECODE), buckets = pair_new(config, GDN_GRAPH_MIXED);

    static int32_t qsl[ROWS + 1], seq[ROWS], own_table[ROWS * (S + 1)];
    const int32_t *tables[1];
    gdn_raw raw = raw_step(ROWS / 2, qsl, seq, own_table, tables);

    for (long n = 0; n < builds; n++) {
        int32_t kind = (int32_t)(n % (KINDS + 2)), salt = (int32_t)(n / (KINDS + 2) % 31);
        int32_t want = GDN_OK, got;
        gdn_builder *b = n % 2 ? buckets.builder : decodes.builder;
        if (n % 2) got = build_in_bucket(&buckets, &raw, kind, salt, &want);
        else if (kind == KINDS) got = gdn_build_raw(b, &raw, NULL);
        else if (kind == KINDS + 1) got = gdn_capture(b, &raw, NULL);
        else {
            want = fill(decodes.batch, kind, salt);
            got = gdn_build(b, decodes.batch, NULL);
        }
        if (got != want) {
            snprintf(why, sizeof why, "build %ld of kind %d gave %s, want %s: %s", n, kind, gdn_strstatus(got),
                     gdn_strstatus(want), gdn_last_error(b));
            die("gdn_build", why);
        }
        if (gdn_check_result(b, 0, NULL) != GDN_OK) die("gdn_check_result", gdn_last_error(b));
        if (faulty) {
            void *volatile p = malloc(1); /* volatile: compilers drop an unused malloc */
            free(p);
            syscall(SYS_getppid);
        }
    }
    gdn_batch_free(decodes.batch);
    gdn_batch_free(buckets.batch);
    gdn_builder_free(decodes.builder);
    gdn_builder_free(buckets.builder);
    char line[32];
    int length = snprintf(line, sizeof line, "%lld\n", (long long)calls);
    return length == (int)write(STDOUT_FILENO, line, (size_t)length) ? 0 : 2;
}
