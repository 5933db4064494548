/* Launches: the kernels' own functions, block by block and thread by thread in shuffled order. */
#include "fakecuda.h"

#include <stdlib.h>
#include <string.h>

/* i -> (a i + b) mod n with a prime to n: every index once, in no order that a kernel could rely on. */
static uint64_t multiplier(uint64_t n, uint64_t seed)
{
    uint64_t a = (2654435761u + 2 * seed) % n;
    for (;; a = a % n + 1) {
        uint64_t x = a, y = n;
        while (y) { uint64_t t = x % y; x = y; y = t; }
        if (x == 1) return a;
    }
}

static uint64_t seed;

static void run_blocks(const gdn_launch *l, const unsigned char *payload, uint32_t shared_bytes, unsigned grid,
                       unsigned shared)
{
    unsigned char *block_memory = aligned_alloc(16, (shared + 31) / 16 * 16);
    uint64_t a = multiplier(grid, seed);
    for (unsigned n = 0; n < grid; n++) {
        uint32_t block = (uint32_t)((a * n + seed) % grid), odd = (uint32_t)(2 * (seed + n) + 1); /* prime to 256 */
        memset(block_memory, 0xee, shared);
        for (uint32_t t = 0; t < GDN_THREADS; t++)
            gdn_copy_searched(&l->head, payload, shared_bytes, block, (odd * t + n) % GDN_THREADS, block_memory);
        for (uint32_t t = 0; t < GDN_THREADS; t++)
            gdn_fill_element(&l->head, payload, shared_bytes, block, (odd * 5 * t + block) % GDN_THREADS, block_memory);
    }
    seed++;
    free(block_memory);
}

static void reach_launch(const gdn_head *h, const unsigned char *payload)
{
    if (find((uint64_t)(uintptr_t)payload, 1)) reach((uint64_t)(uintptr_t)payload); /* the bench may have copied it */
    reach(h->seq_lens);
    reach(h->accepted);
    for (uint32_t i = 0; i < h->num_outputs; i++) {
        const gdn_output *s = &h->outputs[i];
        reach(s->out);
        for (uint32_t g = 0; s->kind == GDN_FILL_STATES && g < s->elements / s->per_group; g++) {
            gdn_group group;
            memcpy(&group, payload + h->groups + g * sizeof group, sizeof group);
            reach(group.table);
        }
    }
}

static void add_up(const void *memory, size_t bytes)
{
    const unsigned char *p = memory;
    for (size_t i = 0; i < bytes; i++) count.carried = (count.carried * 257 + p[i] + 1) % 999999937;
}

static void add_head(gdn_head h)
{
    h.seq_lens = h.seq_lens != 0, h.accepted = h.accepted != 0, h.faults = h.faults != 0;
    for (uint32_t i = 0; i < h.num_outputs; i++) h.outputs[i].out = h.outputs[i].out != 0;
    add_up(&h, offsetof(gdn_head, outputs) + h.num_outputs * sizeof *h.outputs);
}

static void add_check(gdn_verify_input c)
{
    c.found = c.found != 0, c.claims = c.claims != 0;
    for (uint32_t f = 0; f < GDN_NUM_FIELDS; f++) {
        c.fields[f].data = c.fields[f].data != 0;
        c.unused[f].buffer = c.unused[f].buffer != 0;
    }
    add_up(&c, offsetof(gdn_verify_input, blocks) + sizeof c.blocks);
}

static void add_bring(gdn_bring_plan p)
{
    for (int k = 0; k < 2; k++)
        p.rows[k].write = p.rows[k].write != 0, p.rows[k].read = p.rows[k].read != 0,
        p.rows[k].shift = p.rows[k].shift != 0;
    p.accepted = p.accepted != 0, p.boundaries = p.boundaries != 0;
    for (uint32_t i = 0; i < p.num_pools; i++) p.pools[i] = p.pools[i] != 0;
    add_up(&p, offsetof(gdn_bring_plan, pools) + p.num_pools * sizeof *p.pools);
}

enum { INSPECTOR = 3, BRINGS_STATES, BRINGS_WINDOWS, NUM_KERNELS };

void run_launch(const operation *o)
{
    const gdn_launch *launch = o->launch;
    const unsigned char *payload = o->ring ? o->ring : launch->payload;
    reach_launch(&launch->head, payload);
    run_blocks(launch, payload, o->shared_bytes, o->grid, o->shared);
}

void run_checks(const operation *o)
{
    const gdn_verify_input *c = o->launch;
    unsigned grid = o->grid;
    uint64_t a = multiplier(grid, seed);
    reach(c->claims);
    for (uint32_t f = 0; f < GDN_NUM_FIELDS; f++) {
        reach(c->fields[f].data);
        reach(c->unused[f].buffer);
    }
    for (unsigned n = 0; n < grid; n++) {
        uint32_t block = (uint32_t)((a * n + seed) % grid), odd = (uint32_t)(2 * (seed + n) + 1);
        for (uint32_t t = 0; t < GDN_VERIFY_THREADS; t++)
            gdn_verify_block(c, block, (odd * t + n) % GDN_VERIFY_THREADS);
    }
    seed++;
}

void run_bring(const operation *o)
{
    const gdn_bring_plan *p = o->launch;
    uint64_t a = multiplier(o->grid, seed);
    count.unit = p->unit, count.pieces = p->pieces;
    reach(p->rows[0].write);
    reach(p->rows[1].write);
    for (uint32_t i = 0; i < p->num_pools; i++) reach(p->pools[i]);
    for (unsigned n = 0; n < o->grid; n++) {
        uint32_t block = (uint32_t)((a * n + seed) % o->grid), odd = (uint32_t)(2 * (seed + n) + 1);
        gdn_bring_list list;
        memset(&list, 0xee, sizeof list);
        for (uint32_t first = 0; first < gdn_bring_rows_in_all(p); first += GDN_BRING_STRETCH) {
#define PHASE(call)                                                                                          \
    for (uint32_t t = 0, thread; thread = (odd * t + n) % GDN_BRING_THREADS, t < GDN_BRING_THREADS; t++) call
            PHASE(gdn_bring_clear(&list, thread));
            PHASE(gdn_bring_mark(p, first, &list, thread));
            PHASE(gdn_bring_count(&list, thread));
            PHASE(gdn_bring_note(p, first, &list, thread));
            if (o->kernel == BRINGS_WINDOWS) PHASE(gdn_bring_all_windows_of(p, &list, block, o->grid, thread));
            else PHASE(gdn_bring_all_states_of(p, &list, block, o->grid, thread));
#undef PHASE
        }
    }
    seed++;
}

static const char *const KERNELS[NUM_KERNELS] = { "gdn_fill_small", "gdn_fill_medium", "gdn_fill_large",
                                                  "gdn_verify_all", "gdn_bring_all_states", "gdn_bring_all_windows" };
static const size_t SIZES[NUM_KERNELS] = {
    GDN_SMALL, GDN_MEDIUM, GDN_LARGE, sizeof(gdn_verify_input), sizeof(gdn_bring_plan), sizeof(gdn_bring_plan)
};

API int cuModuleGetFunction(void **out, void *module, const char *name)
{
    (void)module;
    ENTER();
    for (int i = 0; i < NUM_KERNELS; i++)
        if (!strcmp(KERNELS[i], name)) {
            *out = (void *)(uintptr_t)&KERNELS[i];
            return OK;
        }
    return NOT_FOUND;
}
API int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                       unsigned shared, void *s, void **arguments, void **extra)
{
    ENTER();
    int kernel = (int)((const char *const *)function - KERNELS);
    if (!current() || kernel < 0 || kernel >= NUM_KERNELS) return INVALID_HANDLE;
    if (!gx || gy != 1 || gz != 1 || bx != GDN_THREADS || by != 1 || bz != 1 || shared > GDN_SHARED || extra)
        return INVALID_VALUE;
    operation o = { .kind = kernel < INSPECTOR ? LAUNCH : kernel == INSPECTOR ? CHECK : BRING, .grid = gx,
                    .shared = shared, .kernel = kernel };
    /* As much of the parameters as the kernel has, and no more: ASan sees what reaches beyond. */
    o.launch_bytes = (SIZES[kernel] + 15) / 16 * 16;
    o.launch = aligned_alloc(16, o.launch_bytes);
    memcpy(o.launch, arguments[0], SIZES[kernel]);
    if (kernel < INSPECTOR) memcpy(&o.ring, arguments[1], sizeof o.ring);
    if (kernel < INSPECTOR) memcpy(&o.shared_bytes, arguments[2], sizeof o.shared_bytes);
    if (kernel < INSPECTOR) add_head(((gdn_launch *)o.launch)->head);
    else if (kernel == INSPECTOR) add_check(*(gdn_verify_input *)o.launch);
    else add_bring(*(gdn_bring_plan *)o.launch);
    count.launches++;
    count.blocks += gx;
    count.kernel = kernel;
    count.shared = shared;
    return enqueue(s, o);
}
