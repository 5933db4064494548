/* Where prefills keep a state. All divisions round down, for an inconsistent row may start below 0. */
#include "partition/checkpoints.h"

#include "base/fields.h"
#include "partition/row_rules.h"

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static int64_t floor_mod(int64_t a, int64_t b)
{
    return a - floor_div(a, b) * b;
}

static int64_t ceil_div(int64_t a, int64_t b)
{
    return -floor_div(-a, b);
}

/* Tokens of the row in front of its checkpoint, 0: it keeps none. *column: of the row's own table. */
static int32_t checkpoint_of(const gdn_settings *settings, int64_t seq_len, int64_t query_len, int32_t *column)
{
    const gdn_config *c = &settings->config;
    int64_t block = c->mamba_block_size, align = c->prefill_checkpoint_alignment, hash = c->hash_block_size;
    int64_t hit = c->cache_hit_alignment_tokens, start = seq_len - query_len, limit = seq_len;
    int64_t lookahead = c->num_hash_lookahead_tokens > 1 ? c->num_hash_lookahead_tokens : 1;
    if (!settings->drop_eagle_block) limit -= lookahead;
    int64_t position = floor_div(limit, hit) * hit - (settings->drop_eagle_block ? hit : 0);
    int64_t last_but_one = ceil_div(seq_len, block) - 2;
    if (position < 0) position = 0;

    int on_grid = align && floor_mod(start, hash) == 0 && floor_mod(position - start, align ? align : 1) == 0;
    int inside = start + hash <= position && start < position && position < seq_len;
    int has_block = last_but_one > floor_div(start - 1, block) && last_but_one >= 0;
    *column = has_block ? (int32_t)last_but_one : 0;
    return on_grid && inside && has_block ? (int32_t)(position - start) : 0;
}

static int32_t gcd(int32_t a, int32_t b)
{
    while (b) {
        int32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

void gdn_checkpoints_find(gdn_partition *p, const gdn_settings *settings, const gdn_step *step)
{
    const gdn_config *c = &settings->config;
    int32_t every = 0, rows = p->speculative || p->num_reqs > p->num_non_spec ? p->num_non_spec : p->num_reqs;
    for (int32_t k = 0; k < rows; k++) {
        int32_t i = p->non_spec_rows ? p->non_spec_rows[k] : k;
        p->checkpoint_offset[k] =
            checkpoint_of(settings, step->seq_len[i], step->query_len[i], &p->checkpoint_column[k]);
        every = gcd(every, p->checkpoint_offset[k]);
    }
    p->has_checkpoints = every > 0;
    p->num_kept_rows = p->has_checkpoints ? rows : 0;
    int planned = c->gdn_prefill_backend == GDN_PREFILL_FLASHINFER && c->prefill_checkpoint_alignment % GDN_CHUNK == 0;
    if (!p->has_checkpoints || !planned) return;

    int32_t n = p->num_non_spec - p->first_prefill, kept = 0;
    const int32_t *start = p->non_spec_start + p->first_prefill;
    for (int32_t k = 0; k < n; k++) {
        p->checkpoint_start[k] = kept;
        kept += (start[k + 1] - start[k]) / every;
    }
    p->checkpoint_start[n] = kept;
    p->checkpoint_every = every;
    p->num_checkpoints = kept;
}
