/* Candidates for eviction: those used since they were rated in a list by use, the others in a queue by value. */
#include "scheduler/index.h"

#include <math.h>

enum { MAX_STEPS = 64 }; /* along the list, to find the place of one that was not used just now */

static line *line_of(gdn_index *x, const node *p, int link)
{
    return &x->lines[link == LINK_LEAF ? GDN_INDEX_LEAVES : GDN_INDEX_STATES + p->place];
}

static int belongs(const gdn_index *x, int32_t i, int link)
{
    const node *p = &x->nodes[i];
    if (p->pins || p->state_refs || p->state_born == x->step) return 0;
    return link == LINK_LEAF ? !p->children && !p->refs && p->born != x->step : p->num_states > 0;
}

/* Before which one of the list it goes, by use: looked for from both ends. NONE: last of all. */
static int32_t place_of(const gdn_index *x, const line *l, const waiting *w, int link)
{
    int32_t late = l->newest, early = l->oldest;
    for (int steps = 0; late && steps < MAX_STEPS; steps++) {
        if (x->nodes[late].wait[link].order < w->order) return x->nodes[late].wait[link].after;
        if (x->nodes[early].wait[link].order > w->order) return early;
        late = x->nodes[late].wait[link].before;
        early = x->nodes[early].wait[link].after;
    }
    return NONE;
}

static void list_put(gdn_index *x, line *l, int32_t i, int link)
{
    waiting *w = &x->nodes[i].wait[link];
    int32_t after = place_of(x, l, w, link), before = after ? x->nodes[after].wait[link].before : l->newest;
    w->where = USED;
    w->before = before;
    w->after = after;
    *(before ? &x->nodes[before].wait[link].after : &l->oldest) = i;
    *(after ? &x->nodes[after].wait[link].before : &l->newest) = i;
    l->num_used++;
}

static void list_remove(gdn_index *x, line *l, int32_t i, int link)
{
    waiting *w = &x->nodes[i].wait[link];
    *(w->before ? &x->nodes[w->before].wait[link].after : &l->oldest) = w->after;
    *(w->after ? &x->nodes[w->after].wait[link].before : &l->newest) = w->before;
    l->num_used--;
    if (!w->before && w->after) gdn_node_fetch(x, w->after); /* it leaves next */
}

void gdn_wait_leave(gdn_index *x, int32_t i, int link)
{
    node *p = &x->nodes[i];
    line *l = line_of(x, p, link);
    if (p->wait[link].where == USED) list_remove(x, l, i, link);
    if (p->wait[link].where == RATED) (void)gdn_heap_remove(l->rated, i);
    p->wait[link].where = OUT;
}

void gdn_wait_update(gdn_index *x, int32_t i, int used)
{
    node *p = &x->nodes[i];
    for (int link = LINK_LEAF; link <= LINK_STATE; link++) {
        int just_now = used & (link == LINK_LEAF ? USED_LEAF : USED_STATE);
        int is_old = link == LINK_STATE && used & PASSED_STATE && p->wait[link].where == RATED;
        if (!belongs(x, i, link) || just_now || is_old) gdn_wait_leave(x, i, link);
        if (just_now) p->wait[link].order = (double)++x->order;
        if (belongs(x, i, link) && p->wait[link].where == OUT) list_put(x, line_of(x, p, link), i, link);
    }
}

void gdn_wait_fresh(gdn_index *x, int32_t i)
{
    node *p = &x->nodes[i];
    gdn_wait_update(x, i, USED_LEAF | USED_STATE);
    if (p->is_fresh) return;
    p->is_fresh = 1;
    x->fresh[x->fresh_nodes++] = i;
}

void gdn_wait_rate(gdn_index *x, int32_t i, int link, double value)
{
    waiting *w = &x->nodes[i].wait[link];
    line *l = line_of(x, &x->nodes[i], link);
    if (w->where == OUT || (w->where == RATED && w->value == value)) return;
    if (w->where == USED) list_remove(x, l, i, link);
    w->where = RATED;
    w->value = value;
    (void)gdn_heap_set(l->rated, i, w->value, w->order);
}

/* Half of a batch is for nodes not rated, a quarter for rated ones in turn, the rest for the least values. */
int32_t gdn_index_candidates(gdn_index *x, int32_t kind, int32_t most, int32_t *nodes, double *values)
{
    if (!x) return GDN_EINVAL;
    if (kind < GDN_INDEX_LEAVES || kind > GDN_INDEX_HOST) GDN_REFUSE(&x->error, "kind = %d, want 0 .. 2", kind);
    if (most < 1 || most > GDN_INDEX_MAX_BATCH)
        GDN_REFUSE(&x->error, "most = %d, want 1 .. %d", most, GDN_INDEX_MAX_BATCH);
    if (!nodes || !values) GDN_REFUSE(&x->error, "nodes or values is NULL");
    line *l = &x->lines[kind];
    int link = kind == GDN_INDEX_LEAVES ? LINK_LEAF : LINK_STATE;
    int32_t rated = gdn_heap_size(l->rated), n = 0, share = most / 2 > most - rated ? most / 2 : most - rated;
    for (int32_t i = l->oldest; i && n < share; i = x->nodes[i].wait[link].after) nodes[n++] = i;
    int32_t walk = most / 4 < rated ? most / 4 : rated;
    int32_t least = gdn_heap_look(l->rated, most - n - walk, nodes + n), first = n;
    n += least;
    x->batch++;
    for (int32_t k = first; k < n; k++) x->seen_in[nodes[k]] = x->batch;
    for (; walk > 0; walk--) {
        l->turn = l->turn + 1 < rated ? l->turn + 1 : 0;
        int32_t i = gdn_heap_at(l->rated, l->turn);
        if (x->seen_in[i] == x->batch) continue;
        x->seen_in[i] = x->batch;
        nodes[n++] = i;
    }
    for (int32_t k = 0; k < n; k++) gdn_node_fetch(x, nodes[k]); /* they are described next */
    for (int32_t k = 0; k < n; k++) values[k] = x->nodes[nodes[k]].wait[link].value;
    return n;
}

gdn_status gdn_index_rate(gdn_index *x, int32_t kind, const int32_t *nodes, const double *values, int32_t n)
{
    if (!x) return GDN_EINVAL;
    if (kind < GDN_INDEX_LEAVES || kind > GDN_INDEX_HOST) GDN_REFUSE(&x->error, "kind = %d, want 0 .. 2", kind);
    if (!nodes || !values) GDN_REFUSE(&x->error, "nodes or values is NULL");
    for (int32_t k = 0; k < n; k++)
        if (nodes[k] < 1 || nodes[k] > x->config.max_nodes)
            GDN_REFUSE(&x->error, "nodes[%d] = %d, want 1 .. %d", k, nodes[k], x->config.max_nodes);
    line *l = &x->lines[kind];
    int link = kind == GDN_INDEX_LEAVES ? LINK_LEAF : LINK_STATE;
    for (int32_t k = 0; k < n; k++) {
        int32_t i = nodes[k];
        if (x->nodes[i].used && line_of(x, &x->nodes[i], link) == l) gdn_wait_rate(x, i, link, values[k]);
    }
    return GDN_OK;
}

int32_t gdn_index_first(const gdn_index *x, int32_t kind)
{
    if (!x || kind < GDN_INDEX_LEAVES || kind > GDN_INDEX_HOST) return NONE;
    int32_t i = gdn_heap_first(x->lines[kind].rated);
    return i > 0 ? i : x->lines[kind].oldest;
}
