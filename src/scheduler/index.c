/* The index of a prefix cache: creation, release, and the start of a step. */
#include "scheduler/index.h"

#include "base/limits.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static gdn_status check(const gdn_index_config *c, gdn_error *error)
{
    const struct {
        const char *name;
        int64_t value, low, high;
    } ranges[] = {
        { "num_groups", c->num_groups, 0, GDN_MAX_GROUPS }, { "block_size", c->block_size, 1, 1 << 20 },
        { "kv_per_block", c->kv_per_block, 0, 1024 },       { "max_nodes", c->max_nodes, 1, 1 << 26 },
        { "max_blocks", c->max_blocks, 1, 1 << 30 },        { "kv_bytes", c->kv_bytes, 0, (int64_t)1 << 40 },
        { "state_bytes", c->state_bytes, 0, (int64_t)1 << 40 },
    };
    if (c->size != sizeof *c) GDN_REFUSE(error, "size = %u, want %zu", (unsigned)c->size, sizeof *c);
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (ranges[i].value < ranges[i].low || ranges[i].value > ranges[i].high)
            GDN_REFUSE(error, "%s = %lld, want %lld .. %lld", ranges[i].name, (long long)ranges[i].value,
                       (long long)ranges[i].low, (long long)ranges[i].high);
    return GDN_OK;
}

/* One piece of the arena. Sizes stay below 2^63: 2^27 pages of 16 blocks of 1024 numbers. */
static void *piece(char *arena, int64_t *bytes, int64_t n, size_t each)
{
    void *at = arena ? arena + *bytes : NULL;
    *bytes += (n * (int64_t)each + 63) / 64 * 64;
    return at;
}

/* Places of all arrays in an arena; with NULL, its size alone. */
static int64_t lay_out(gdn_index *x, char *arena)
{
    int64_t bytes = 0, n = (int64_t)x->config.max_nodes + 1;
    x->nodes = piece(arena, &bytes, n, sizeof *x->nodes);
    x->slots = piece(arena, &bytes, n * x->config.num_groups, sizeof *x->slots);
    x->table = piece(arena, &bytes, (int64_t)x->table_mask + 1, sizeof *x->table);
    x->fresh = piece(arena, &bytes, n, sizeof *x->fresh);
    x->seen_in = piece(arena, &bytes, n, sizeof *x->seen_in);
    x->page_ids = piece(arena, &bytes, (int64_t)x->max_pages * PAGE_BLOCKS, sizeof *x->page_ids);
    x->page_kv = piece(arena, &bytes, (int64_t)x->max_pages * PAGE_BLOCKS * x->config.kv_per_block, sizeof *x->page_kv);
    x->page_next = piece(arena, &bytes, x->max_pages, sizeof *x->page_next);
    return bytes;
}

static void tell(const gdn_error *error, char *why, size_t size)
{
    if (why && size) snprintf(why, size, "%s", error->text);
}

gdn_status gdn_index_new(const gdn_index_config *config, gdn_index **out, char *why, size_t why_size)
{
    gdn_error error = { "out of memory for an index" };
    gdn_status status = config && out ? check(config, &error) : gdn_fail(&error, GDN_EINVAL, "config or out is NULL");
    gdn_index *x = status ? NULL : calloc(1, sizeof *x);
    if (!x) {
        tell(&error, why, why_size);
        return status ? status : GDN_ENOMEM;
    }
    x->config = *config;
    /* A run of n blocks touches at most n / 16 + 2 pages: numbers of nodes and blocks are the only bounds. */
    int64_t pages = config->max_blocks / PAGE_BLOCKS + 2 * (int64_t)config->max_nodes + 1, places = 4;
    x->max_pages = (int32_t)pages;
    while (places < 2 * (int64_t)config->max_nodes) places *= 2;
    x->table_mask = (int32_t)(places - 1);
    x->arena = calloc(1, (size_t)lay_out(x, NULL));
    int made = x->arena != NULL;
    for (int32_t kind = 0; kind < 3 && made; kind++) made = !gdn_heap_new(config->max_nodes + 1, &x->lines[kind].rated);
    if (!made) {
        gdn_index_free(x);
        tell(&error, why, why_size);
        return GDN_ENOMEM;
    }
    (void)lay_out(x, x->arena);
    x->free_page = -1;
    x->top_node = 1;
    x->step = 1;
    x->nodes[ROOT].used = 1;
    x->stats.max_nodes = config->max_nodes;
    x->stats.max_blocks = config->max_blocks;
    *out = x;
    return GDN_OK;
}

void gdn_index_free(gdn_index *x)
{
    if (!x) return;
    for (int32_t kind = 0; kind < 3; kind++) gdn_heap_free(x->lines[kind].rated);
    free(x->arena);
    free(x);
}

const char *gdn_index_error(const gdn_index *x)
{
    return x ? x->error.text : "index is NULL";
}

gdn_status gdn_index_advance(gdn_index *x, double now)
{
    if (!x) return GDN_EINVAL;
    if (isnan(now)) GDN_REFUSE(&x->error, "now = nan, want a number");
    x->now = now;
    x->step++;
    for (int32_t k = 0; k < x->fresh_nodes; k++) {
        int32_t i = x->fresh[k];
        x->nodes[i].is_fresh = 0;
        if (x->nodes[i].used) gdn_wait_update(x, i, 0);
    }
    x->fresh_nodes = 0;
    /* Those that leave next. The step has other work until then. */
    gdn_node_fetch_around(x, x->lines[GDN_INDEX_LEAVES].oldest);
    gdn_node_fetch_around(x, x->lines[GDN_INDEX_STATES].oldest);
    return GDN_OK;
}
