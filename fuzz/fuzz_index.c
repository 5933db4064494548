/* The index of a prefix cache: every call, with what fits and with what does not. After each one gdn_index_verify
 * counts everything anew; a refusal has changed nothing. */
#include "bytes.h"

#include "gdnmeta_prefix_index.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST = 80, GROUPS = 2, HELD = 8 };

typedef struct run {
    gdn_index *index;
    fuzz_bytes *in;
    gdn_index_config config;
    int32_t locks[HELD], reads[HELD]; /* 0: none */
    int64_t ids[LONGEST];
    int32_t num_ids, next_slot;
    gdn_index_watch watch; /* of a prompt that waits: what it found, in an earlier step */
    gdn_index_hit found;
    int64_t waits[LONGEST];
    int32_t num_waits, limit, is_older;
} run;

static void fail(const run *r, const char *call, const char *what)
{
    fprintf(stderr, "fuzz: %s: %s: %s\n", call, what, gdn_index_error(r->index));
    abort();
}

/* A path along the last one, then on its own. */
static void draw_ids(run *r)
{
    int32_t n = fuzz_between(r->in, 0, LONGEST), same = fuzz_between(r->in, 0, LONGEST);
    if (same > r->num_ids) same = r->num_ids > 0 ? r->num_ids : 0;
    for (int32_t k = same; k < n; k++)
        r->ids[k] = fuzz_once_in(r->in, 200) ? fuzz_wild(r->in) : fuzz_between(r->in, 1, 2);
    r->num_ids = n;
}

static int32_t draw_node(run *r)
{
    if (fuzz_once_in(r->in, 32)) return fuzz_wild(r->in);
    int32_t held = r->locks[fuzz_between(r->in, 0, HELD - 1)];
    return held && fuzz_between(r->in, 0, 1) ? held : fuzz_between(r->in, 0, r->config.max_nodes);
}

static gdn_status lock(run *r)
{
    gdn_index_hit hit;
    int32_t place = fuzz_between(r->in, 0, HELD - 1);
    draw_ids(r);
    gdn_status status = gdn_index_match(r->index, r->ids, r->num_ids, fuzz_between(r->in, 0, 400), &hit);
    if (status || r->locks[place]) return status;
    if (fuzz_once_in(r->in, 4)) hit.state_node = hit.host_node = 0;
    if (hit.state_node && fuzz_once_in(r->in, 4)) hit.node = hit.state_node, hit.kv_hit = hit.state_hit;
    if (fuzz_once_in(r->in, 16)) hit.node = draw_node(r);
    if (fuzz_once_in(r->in, 16)) hit.kv_hit = fuzz_wild(r->in);
    if (fuzz_once_in(r->in, 16)) hit.state_node = draw_node(r);
    int32_t reads = hit.state_node ? hit.state_node : hit.host_node;
    status = gdn_index_lock(r->index, &hit);
    if (!status) r->locks[place] = hit.node, r->reads[place] = reads;
    return status;
}

static gdn_status wait(run *r)
{
    draw_ids(r);
    r->num_waits = 0;
    int32_t limit = fuzz_between(r->in, 0, 400);
    gdn_index_hit hit;
    gdn_status status = gdn_index_match(r->index, r->ids, r->num_ids, limit, &hit);
    if (!status && fuzz_once_in(r->in, 16)) hit.node = draw_node(r), hit.kv_hit = fuzz_wild(r->in);
    else if (!status) r->num_waits = r->num_ids;
    if (!status) status = gdn_index_watch_hit(r->index, r->ids, r->num_ids, limit, &hit, &r->watch);
    memcpy(r->waits, r->ids, sizeof r->ids);
    r->limit = limit, r->is_older = 0, r->found = hit;
    return status;
}

/* What has not changed is found again. */
static void look(run *r)
{
    gdn_index_hit hit;
    if (!r->num_waits || !r->is_older || gdn_index_has_changed(r->index, &r->watch)) return;
    if (gdn_index_match(r->index, r->waits, r->num_waits, r->limit, &hit)) fail(r, "match", "refused");
    if (hit.kv_hit != r->found.kv_hit || hit.state_node != r->found.state_node || hit.host_node != r->found.host_node)
        fail(r, "has_changed", "said no, and a match finds something else");
}

static gdn_status unlock(run *r)
{
    int32_t place = fuzz_between(r->in, 0, HELD - 1);
    if (fuzz_once_in(r->in, 16)) return gdn_index_unlock(r->index, -1 - fuzz_between(r->in, 0, 9));
    if (r->reads[place] && gdn_index_unlock_state(r->index, r->reads[place])) fail(r, "unlock_state", "refused");
    if (r->locks[place] && gdn_index_unlock(r->index, r->locks[place])) fail(r, "unlock", "refused");
    r->locks[place] = r->reads[place] = 0;
    return GDN_OK;
}

static gdn_status publish(run *r)
{
    gdn_index_published out;
    int32_t kv[LONGEST * 2], slots[GROUPS];
    int32_t place = fuzz_between(r->in, 0, HELD - 1), shape = fuzz_between(r->in, 0, 255);
    draw_ids(r);
    for (int32_t k = 0; k < LONGEST * 2; k++) kv[k] = k;
    for (int32_t g = 0; g < GROUPS; g++) slots[g] = fuzz_once_in(r->in, 8) ? fuzz_wild(r->in) : r->next_slot++;
    int32_t from = 0, move = shape & 1;
    if (shape & 2 && r->locks[place]) { /* on from where a lock ends */
        gdn_index_node node;
        from = r->locks[place];
        if (gdn_index_describe(r->index, from, &node)) fail(r, "describe", "refused a node that is locked");
        int64_t more[LONGEST];
        int32_t room = LONGEST - node.depth, n = fuzz_between(r->in, 0, 20);
        n = n < room ? n : room;
        memcpy(more, r->ids, (size_t)n * sizeof *more);
        if (gdn_index_read(r->index, from, 0, node.depth, r->ids, NULL)) fail(r, "read", "refused a locked node");
        memcpy(r->ids + node.depth, more, (size_t)n * sizeof *more);
        r->num_ids = node.depth + n;
    } else if (r->locks[place]) {
        move = 0;
    }
    if (fuzz_once_in(r->in, 32)) move = 0, r->num_ids = fuzz_between(r->in, -1, 1);
    gdn_status status = gdn_index_publish(r->index, r->ids, r->num_ids, shape & 4 ? kv : NULL, shape & 8 ? slots : NULL,
                                          from, move, fuzz_between(r->in, -2, 1), &out);
    if (status && status != GDN_ECAP && status != GDN_EINVAL) fail(r, "publish", "another status");
    if (!status && move) r->locks[place] = out.node;
    return status;
}

static gdn_status rate(run *r)
{
    int32_t nodes[GDN_INDEX_MAX_BATCH], kind = fuzz_between(r->in, -1, 3);
    double values[GDN_INDEX_MAX_BATCH];
    int32_t n = gdn_index_candidates(r->index, kind, fuzz_between(r->in, 0, GDN_INDEX_MAX_BATCH + 1), nodes, values);
    if (n < 0) return n;
    for (int32_t k = 0; k < n; k++) values[k] = fuzz_between(r->in, 0, 7);
    if (n && fuzz_once_in(r->in, 16)) nodes[fuzz_between(r->in, 0, n - 1)] = draw_node(r);
    return gdn_index_rate(r->index, kind, nodes, values, n);
}

static gdn_status leave(run *r)
{
    int32_t kv[LONGEST * 2], slots[GROUPS], old[GROUPS], kind = fuzz_between(r->in, 0, 2);
    int32_t i = fuzz_once_in(r->in, 4) ? draw_node(r) : gdn_index_first(r->index, kind);
    if (kind == GDN_INDEX_LEAVES) {
        int32_t gone = gdn_index_evict(r->index, i, fuzz_between(r->in, 0, LONGEST), kv, slots);
        return gone < 0 ? gone : GDN_OK;
    }
    if (fuzz_between(r->in, 0, 1)) return gdn_index_drop_state(r->index, i, slots);
    for (int32_t g = 0; g < GROUPS; g++) slots[g] = r->next_slot++;
    return gdn_index_move_state(r->index, i, fuzz_between(r->in, -1, 2), slots, old);
}

static gdn_status step(run *r)
{
    switch (fuzz_between(r->in, 0, 10)) {
    case 10: return wait(r);
    case 0: case 1: case 2: return publish(r);
    case 3: case 4: return lock(r);
    case 5: return unlock(r);
    case 6: return rate(r);
    case 7: return leave(r);
    case 8: return fuzz_between(r->in, 0, 1) ? gdn_index_pin(r->index, draw_node(r), fuzz_between(r->in, -1, 40), -1)
                                             : gdn_index_unpin(r->index, draw_node(r));
    default:
        r->is_older = 1;
        return gdn_index_advance(r->index, fuzz_between(r->in, 0, 100));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_bytes in = { data, data + size };
    char why[200];
    run r = { .in = &in, .next_slot = 1 };
    r.config = (gdn_index_config){ .size = sizeof r.config, .num_groups = GROUPS, .block_size = fuzz_between(&in, 0, 9),
                                   .kv_per_block = fuzz_between(&in, 0, 2), .max_nodes = fuzz_between(&in, 0, 40),
                                   .max_blocks = fuzz_between(&in, 0, 700), .kv_bytes = 1, .state_bytes = 1 };
    if (gdn_index_new(&r.config, &r.index, why, sizeof why)) return 0;
    while (in.at < in.end) {
        gdn_index_stats before, after;
        gdn_index_describe_all(r.index, &before);
        gdn_status status = step(&r);
        gdn_index_describe_all(r.index, &after);
        look(&r);
        before.matches = after.matches; /* of a lock that is then refused */
        if (status && memcmp(&before, &after, sizeof before)) fail(&r, "a refusal", "has changed something");
        if (gdn_index_verify(r.index)) fail(&r, "verify", "does not agree");
    }
    gdn_index_free(r.index);
    return 0;
}
