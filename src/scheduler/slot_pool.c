/* State-slot pools, one a cache group: which request owns which row of the recurrent-state memory. */
#include "gdnmeta_scheduler.h"

#include "base/limits.h"

#include <stdlib.h>

enum { NULL_SLOT = 0 };

typedef struct pool {
    int32_t *stack;       /* [size] free slots, the next one to hand out at the end */
    int32_t *owner;       /* [size] -1: free */
    int32_t *holders;     /* [size] 0: free */
    uint32_t *generation; /* [size] counts how often the slot came back */
    int64_t taken;
    int32_t size, available, peak;
} pool;

struct gdn_slots {
    int32_t num_groups;
    pool pools[GDN_MAX_GROUPS];
};

static int pool_make(pool *p, int32_t size)
{
    size_t n = (size_t)size;
    p->stack = malloc(n * sizeof *p->stack);
    p->owner = malloc(n * sizeof *p->owner);
    p->holders = calloc(n, sizeof *p->holders);
    p->generation = calloc(n, sizeof *p->generation);
    if (!p->stack || !p->owner || !p->holders || !p->generation) return 0;
    p->size = size;
    p->available = size - 1;
    for (int32_t i = 0; i < size; i++) p->owner[i] = -1;
    for (int32_t i = 0; i < size - 1; i++) p->stack[i] = size - 1 - i; /* slot 1 goes first */
    return 1;
}

gdn_status gdn_slots_new(int32_t num_groups, const int32_t *num_slots, gdn_slots **out)
{
    if (num_groups < 1 || num_groups > GDN_MAX_GROUPS || !num_slots || !out) return GDN_EINVAL;
    for (int32_t g = 0; g < num_groups; g++)
        if (num_slots[g] < 1) return GDN_EINVAL;
    gdn_slots *s = calloc(1, sizeof *s);
    if (!s) return GDN_ENOMEM;
    s->num_groups = num_groups;
    for (int32_t g = 0; g < num_groups; g++)
        if (!pool_make(&s->pools[g], num_slots[g])) {
            gdn_slots_free(s);
            return GDN_ENOMEM;
        }
    *out = s;
    return GDN_OK;
}

void gdn_slots_free(gdn_slots *s)
{
    if (!s) return;
    for (int32_t g = 0; g < s->num_groups; g++) {
        free(s->pools[g].stack);
        free(s->pools[g].owner);
        free(s->pools[g].holders);
        free(s->pools[g].generation);
    }
    free(s);
}

/* NULL for a group or slot that does not exist; the null slot does not. */
static pool *pool_of(gdn_slots *s, int32_t group, int32_t slot)
{
    if (!s || group < 0 || group >= s->num_groups) return NULL;
    pool *p = &s->pools[group];
    return slot > NULL_SLOT && slot < p->size ? p : NULL;
}

gdn_status gdn_slots_take(gdn_slots *s, int32_t group, int32_t n, int32_t owner, int32_t *out)
{
    if (!s || group < 0 || group >= s->num_groups || n < 0 || owner < 0 || (n && !out)) return GDN_EINVAL;
    pool *p = &s->pools[group];
    if (n > p->available) return GDN_ECAP;
    for (int32_t i = 0; i < n; i++) {
        int32_t slot = p->stack[--p->available];
        p->owner[slot] = owner;
        p->holders[slot] = 1;
        out[i] = slot;
    }
    p->taken += n;
    int32_t used = p->size - 1 - p->available;
    if (used > p->peak) p->peak = used;
    return GDN_OK;
}

gdn_status gdn_slots_share(gdn_slots *s, int32_t group, int32_t slot)
{
    pool *p = pool_of(s, group, slot);
    if (!p || p->holders[slot] < 1 || p->holders[slot] == INT32_MAX) return GDN_EINVAL;
    p->holders[slot]++;
    return GDN_OK;
}

gdn_status gdn_slots_drop(gdn_slots *s, int32_t group, int32_t slot)
{
    pool *p = pool_of(s, group, slot);
    if (!p || p->holders[slot] < 1) return GDN_EINVAL;
    if (--p->holders[slot]) return GDN_OK;
    p->owner[slot] = -1;
    p->generation[slot]++;
    p->stack[p->available++] = slot;
    return GDN_OK;
}

int32_t gdn_slots_available(const gdn_slots *s, int32_t group)
{
    return !s || group < 0 || group >= s->num_groups ? 0 : s->pools[group].available;
}

int32_t gdn_slots_owner(const gdn_slots *s, int32_t group, int32_t slot)
{
    pool *p = pool_of((gdn_slots *)s, group, slot);
    return p ? p->owner[slot] : -1;
}

int32_t gdn_slots_holders(const gdn_slots *s, int32_t group, int32_t slot)
{
    pool *p = pool_of((gdn_slots *)s, group, slot);
    return p ? p->holders[slot] : 0;
}

uint32_t gdn_slots_generation(const gdn_slots *s, int32_t group, int32_t slot)
{
    pool *p = pool_of((gdn_slots *)s, group, slot);
    return p ? p->generation[slot] : 0;
}

gdn_status gdn_slots_describe(const gdn_slots *s, int32_t group, gdn_slots_stats *out)
{
    if (!s || !out || group < 0 || group >= s->num_groups) return GDN_EINVAL;
    const pool *p = &s->pools[group];
    *out = (gdn_slots_stats){ .taken = p->taken, .size = p->size, .available = p->available,
                              .used = p->size - 1 - p->available, .peak = p->peak };
    return GDN_OK;
}

/* ---- All groups at once ---- */

int32_t gdn_slots_least(const gdn_slots *s)
{
    if (!s) return 0;
    int32_t least = s->pools[0].available;
    for (int32_t g = 1; g < s->num_groups; g++)
        if (s->pools[g].available < least) least = s->pools[g].available;
    return least;
}

static int are_tables(const gdn_slots *s, int32_t *const *tables, int64_t at)
{
    if (!s || !tables || at < 0) return 0;
    for (int32_t g = 0; g < s->num_groups; g++)
        if (!tables[g]) return 0;
    return 1;
}

gdn_status gdn_slots_take_each(gdn_slots *s, int32_t n, int32_t owner, int32_t *const *tables, int64_t at)
{
    if (!are_tables(s, tables, at) || n < 0 || owner < 0) return GDN_EINVAL;
    if (n > gdn_slots_least(s)) return GDN_ECAP;
    for (int32_t g = 0; g < s->num_groups; g++) (void)gdn_slots_take(s, g, n, owner, tables[g] + at);
    return GDN_OK;
}

static int are_shareable(gdn_slots *s, const int32_t *slots)
{
    for (int32_t g = 0; g < s->num_groups; g++) {
        const pool *p = pool_of(s, g, slots[g]);
        if (!p || p->holders[slots[g]] < 1 || p->holders[slots[g]] == INT32_MAX) return 0;
    }
    return 1;
}

gdn_status gdn_slots_share_each(gdn_slots *s, const int32_t *slots, int32_t *const *tables, int64_t at)
{
    if (!s || !slots || (tables && !are_tables(s, tables, at)) || !are_shareable(s, slots)) return GDN_EINVAL;
    for (int32_t g = 0; g < s->num_groups; g++) {
        s->pools[g].holders[slots[g]]++;
        if (tables) tables[g][at] = slots[g];
    }
    return GDN_OK;
}

gdn_status gdn_slots_drop_each(gdn_slots *s, int32_t *const *tables, int64_t at)
{
    if (!are_tables(s, tables, at)) return GDN_EINVAL;
    for (int32_t g = 0; g < s->num_groups; g++)
        if (gdn_slots_holders(s, g, tables[g][at]) < 1) return GDN_EINVAL;
    for (int32_t g = 0; g < s->num_groups; g++) {
        (void)gdn_slots_drop(s, g, tables[g][at]);
        tables[g][at] = NULL_SLOT;
    }
    return GDN_OK;
}

gdn_status gdn_slots_drop_list(gdn_slots *s, const int32_t *slots)
{
    if (!s || !slots) return GDN_EINVAL;
    for (int32_t g = 0; g < s->num_groups; g++)
        if (slots[g] > NULL_SLOT && gdn_slots_holders(s, g, slots[g]) < 1) return GDN_EINVAL;
    for (int32_t g = 0; g < s->num_groups; g++)
        if (slots[g] > NULL_SLOT) (void)gdn_slots_drop(s, g, slots[g]);
    return GDN_OK;
}

gdn_status gdn_slots_copy_each(const gdn_slots *s, int32_t *const *tables, int64_t at, int32_t *out)
{
    if (!are_tables(s, tables, at) || !out) return GDN_EINVAL;
    for (int32_t g = 0; g < s->num_groups; g++) out[g] = tables[g][at];
    return GDN_OK;
}

gdn_status gdn_slots_move_each(gdn_slots *s, int32_t *const *tables, int64_t from, int64_t to, int32_t owner)
{
    if (!are_tables(s, tables, from) || to < 0) return GDN_EINVAL;
    if (owner >= 0 && gdn_slots_least(s) < 1) return GDN_ECAP;
    for (int32_t g = 0; g < s->num_groups; g++) {
        tables[g][to] = tables[g][from];
        tables[g][from] = NULL_SLOT;
        if (owner >= 0) (void)gdn_slots_take(s, g, 1, owner, tables[g] + from);
    }
    return GDN_OK;
}
