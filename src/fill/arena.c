/* Layout of the output buffers, and the bookkeeping of their padded tails. */
#include "fill/arena.h"

#include "base/limits.h"

enum { ALIGNMENT = 64 };

/* As many rows of as many states, and rows and tiles of as many tokens, as a configuration may have. */
#define MOST_ROWS ((int64_t)GDN_MAX_ROWS * (GDN_MAX_SPEC + 1))
_Static_assert(MOST_ROWS * (GDN_MAX_SPEC + 1) < INT32_MAX && 2 * (INT32_MAX / GDN_TILE + MOST_ROWS) < INT32_MAX,
               "base/limits.h: numbers of elements are int32_t");

void gdn_arena_layout(gdn_arena *arena, const gdn_settings *settings)
{
    const gdn_config *c = &settings->config;
    int32_t BOUND = c->query_start_loc_dtype;
    int64_t ROWS = settings->row_capacity, BOUNDS = ROWS + 1;
    int64_t STATES = ROWS * (c->num_speculative_tokens + 1), TOKENS = c->max_num_batched_tokens;
    /* Each row adds at most one part-filled chunk or tile. */
    int64_t CHUNKS = 2 * (TOKENS / GDN_CHUNK + ROWS), TILES = TOKENS / GDN_TILE + ROWS;
    TILES = 2 * (TILES > GDN_MIN_TILES ? TILES : GDN_MIN_TILES);
    int64_t KEPT = settings->has_checkpoints ? ROWS : 0, KEPT_BOUNDS = settings->has_checkpoints ? BOUNDS : 0;
    int64_t ASKED = settings->takes_checkpoints ? ROWS : 0;

    int32_t in_buckets = settings->has_buckets;
    int64_t BUCKET_ROWS = in_buckets ? ROWS : 0, BUCKET_BOUNDS = in_buckets ? BOUNDS : 0;
    int64_t BUCKET_TOKENS = in_buckets ? TOKENS : 0, LIVE = in_buckets ? GDN_LIVE_COUNTS : 0;

    size_t at = 0;
#define X(name, type, count, per_group)                                                                                \
    {                                                                                                                  \
        size_t size =                                                                                                  \
            ((size_t)count * gdn_element_size(type) + GDN_ARENA_SLACK + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;        \
        arena->capacity[GDN_FIELD_##name] = (int32_t)count;                                                            \
        arena->offset[GDN_FIELD_##name] = at;                                                                          \
        arena->group_stride[GDN_FIELD_##name] = per_group ? size : 0;                                                  \
        arena->live[GDN_FIELD_##name] = per_group && c->full_cuda_graph ? 0 : -1;                                      \
        at += count ? (per_group ? (size_t)c->num_groups : 1) * size : 0;                                              \
    }
    GDN_FIELDS(X)
#undef X
    arena->bytes = at;
    gdn_arena_forget(arena);
}

static void forget_padding(gdn_arena *arena, int32_t field)
{
    arena->used[field] = arena->capacity[field];
    arena->padded[field] = 0;
}

void gdn_arena_forget(gdn_arena *arena)
{
    for (int32_t f = 0; f < GDN_NUM_FIELDS; f++) forget_padding(arena, f);
    for (int32_t f = 0; f < GDN_NUM_FIELDS; f++) arena->live[f] = arena->live[f] < 0 ? -1 : 0; /* no slots, either */
}

void gdn_arena_doubt(gdn_arena *arena)
{
    for (int32_t f = 0; f < GDN_NUM_FIELDS; f++)
        if (arena->live[f] >= 0) arena->live[f] = arena->capacity[f];
}

int32_t gdn_arena_reach(gdn_arena *arena, gdn_field field, int32_t filled, int32_t length)
{
    int32_t live = arena->live[field], reach = live > length ? live : length;
    if (live < 0) return length;
    if (filled == live && length == arena->shown[field] && reach < arena->reached[field])
        reach = arena->reached[field];
    arena->live[field] = filled;
    arena->shown[field] = length;
    arena->reached[field] = reach;
    return reach;
}

int32_t gdn_arena_pad_end(gdn_arena *arena, gdn_field field, int32_t filled, int32_t length)
{
    int32_t reach = gdn_arena_reach(arena, field, filled, length), *used = &arena->used[field], end = reach;
    if (reach > arena->padded[field]) { /* never padded so far: all of it is now, and nothing is known behind it */
        arena->padded[field] = reach;
        *used = filled;
    } else {
        if (*used < end) end = *used;
        if (*used <= reach || *used < filled) *used = filled;
    }
    return end < filled ? filled : end;
}

int32_t gdn_arena_pad_end_of(gdn_arena *arena, gdn_field field, int32_t filled, int32_t length, int64_t value)
{
    if (arena->padding[field] != value) forget_padding(arena, field);
    arena->padding[field] = value;
    return gdn_arena_pad_end(arena, field, filled, length);
}
