/* What `make bench` times: builds from C, and the floor under them. Loaded by bench/build.lua, compiled
 * with the library's own flags.
 *
 * The floor reads every input that a build must read once and writes, in plain loops, every byte of the returned
 * views, padding included, and behind them the slots of the step before, which a captured graph might read. A build
 * that finds padding in place writes less, so its ratio may fall below one. */
#define _POSIX_C_SOURCE 199309L /* clock_gettime */
#include "builder/builder.h"

#include <time.h>

/* Two batches of different sizes take turns, so that padding left in place is not flattered. */
typedef struct bench_pair {
    gdn_builder *builder;
    gdn_batch *batches[2];
    char *sink; /* as large as the arena: the floor's outputs */
} bench_pair;

GDN_API double bench_build(const bench_pair *pair, int32_t rounds);
GDN_API double bench_floor(const bench_pair *pair, int32_t rounds);
GDN_API int64_t bench_arena_bytes(const gdn_builder *b);
GDN_API void bench_skip_strict(gdn_builder *b, int32_t skip);
GDN_API int64_t bench_checksum(const char *memory, int64_t bytes);

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Nanoseconds a build, or -1 when one is refused. */
double bench_build(const bench_pair *pair, int32_t rounds)
{
    gdn_status status = GDN_OK;
    double start = now_ns();
    for (int32_t i = 0; i < rounds; i++) status |= gdn_build(pair->builder, pair->batches[i & 1], NULL);
    return status ? -1 : (now_ns() - start) / rounds;
}

__attribute__((noinline)) static int32_t read_rows(const int32_t *values, int32_t n)
{
    int32_t sum = 0;
    for (int32_t i = 0; i < n; i++) sum += values[i];
    return sum;
}

/* The row arrays that classification needs, and the table entries that become outputs. */
__attribute__((noinline)) static int32_t read_inputs(const gdn_builder *b, const gdn_batch *batch)
{
    int32_t n = batch->num_rows, groups = batch->num_groups, states = b->settings.config.num_speculative_tokens + 1;
    int32_t sum =
        read_rows(batch->query_len, n) + read_rows(batch->num_draft_tokens, n) + read_rows(batch->table_row, n);
    if (b->metadata.num_prefills) sum += read_rows(batch->seq_len, n);
    if (b->metadata.num_spec_decodes) sum += read_rows(batch->num_accepted_tokens, n);
    for (int32_t g = 0; g < groups; g++) {
        const gdn_table *t = &b->tables[g];
        for (int32_t i = 0; i < n; i++) {
            const int32_t *row = t->data + batch->table_row[i] * t->stride;
            int32_t columns = batch->num_draft_tokens[i] >= 0 ? states : 1;
            for (int32_t c = 0; c < columns; c++) sum += row[c];
        }
    }
    return sum;
}

__attribute__((noinline)) static void write32(int32_t *restrict out, int32_t n, int32_t value)
{
    for (int32_t i = 0; i < n; i++) out[i] = value;
}

__attribute__((noinline)) static void write64(int64_t *restrict out, int32_t n, int64_t value)
{
    for (int32_t i = 0; i < n; i++) out[i] = value;
}

__attribute__((noinline)) static void write8(uint8_t *restrict out, int32_t n, uint8_t value)
{
    for (int32_t i = 0; i < n; i++) out[i] = value;
}

static void write_view(const gdn_builder *b, char *sink, const gdn_tensor *view, int32_t value)
{
    int32_t n = view->shape[0] * view->shape[1];
    if (!view->data) return;
    void *out = sink + ((char *)view->data - b->arena.base);
    if (view->dtype == GDN_INT32) write32(out, n, value);
    if (view->dtype == GDN_INT64) write64(out, n, value);
    if (view->dtype == GDN_BOOL) write8(out, n, (uint8_t)value);
}

/* Slots of the step before, behind the view of a field or where it has none. */
static void write_cleared(const gdn_arena *arena, char *sink, int32_t field, int32_t value)
{
    int32_t shown = arena->shown[field], n = arena->reached[field] - shown;
    if (arena->live[field] >= 0 && n > 0)
        write32((int32_t *)(void *)(sink + arena->offset[field]) + shown, n, value);
}

/* Views of the prefill tail share memory with the rows' arrays: the same bytes are counted once. arena: as the build of
 * `meta` left it. */
static void write_outputs(const gdn_builder *b, const gdn_metadata *meta, const gdn_arena *arena, char *sink,
                          int32_t value)
{
    int32_t groups = b->settings.config.num_groups;
    for (int32_t f = 0; f < GDN_NUM_FIELDS; f++)
        for (int32_t g = 0; g < groups; g++) write_cleared(arena, sink + (size_t)g * arena->group_stride[f], f, value);
#define X(name, type, count, per_group)                                                                                \
    for (int32_t g = 0; b->arena.capacity[GDN_FIELD_##name] && g < (per_group ? groups : 1); g++)                      \
        if (GDN_FIELD_##name != GDN_FIELD_prefill_query_start_loc ||                                                   \
            meta->name.data != meta->non_spec_query_start_loc.data)                                                    \
            write_view(b, sink + (size_t)g * b->arena.group_stride[GDN_FIELD_##name], &meta->name, value);
    GDN_FIELDS(X)
#undef X
}

double bench_floor(const bench_pair *pair, int32_t rounds)
{
    gdn_metadata views[2];
    gdn_arena arenas[2];
    for (int32_t i = 0; i < 4; i++) { /* twice, for a build clears what the other left */
        if (gdn_build(pair->builder, pair->batches[i & 1], NULL)) return -1;
        views[i & 1] = *gdn_builder_metadata(pair->builder);
        arenas[i & 1] = pair->builder->arena;
    }
    double start = now_ns();
    for (int32_t i = 0; i < rounds; i++) {
        int32_t sum = read_inputs(pair->builder, pair->batches[i & 1]);
        write_outputs(pair->builder, &views[i & 1], &arenas[i & 1], pair->sink, sum + i);
    }
    return (now_ns() - start) / rounds;
}

int64_t bench_arena_bytes(const gdn_builder *b)
{
    return (int64_t)b->arena.bytes;
}

void bench_skip_strict(gdn_builder *b, int32_t skip)
{
    b->skip_strict = skip;
}

int64_t bench_checksum(const char *memory, int64_t bytes)
{
    int64_t sum = 0;
    for (int64_t i = 0; i < bytes; i++) sum += memory[i];
    return sum;
}
