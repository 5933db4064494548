/* Where prefills keep a state. All divisions round down, for an inconsistent row may start below 0. */
#include "partition/checkpoints.h"

#include "base/fields.h"
#include "partition/row_rules.h"
#include "partition/scan_rows.h"

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
    int inside = start + hash <= position && position < seq_len;
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

/* The plan of a kernel that keeps a state every checkpoint_every tokens of each prefill. */
static void plan(gdn_partition *p)
{
    int32_t n = p->num_non_spec - p->first_prefill, kept = 0;
    const int32_t *start = p->non_spec_start + p->first_prefill;
    for (int32_t k = 0; k < n; k++) {
        p->checkpoint_start[k] = kept;
        kept += (start[k + 1] - start[k]) / p->checkpoint_every;
    }
    p->checkpoint_start[n] = kept;
    p->num_checkpoints = kept;
}

/* Offsets of vLLM's rows; the gcd of those that are not 0. */
static int32_t find_offsets(gdn_partition *p, const gdn_settings *settings, const gdn_step *step, int32_t rows)
{
    int32_t every = 0;
    for (int32_t k = 0; k < rows; k++) {
        int32_t i = p->non_spec_rows ? p->non_spec_rows[k] : k;
        p->checkpoint_offset[k] =
            checkpoint_of(settings, step->seq_len[i], step->query_len[i], &p->checkpoint_column[k]);
        every = gcd(every, p->checkpoint_offset[k]);
    }
    return every;
}

/* As the rows ask. Nothing is checked yet: what is not within its row is no checkpoint, and will be refused. */
static int32_t take_offsets(gdn_partition *p, const gdn_step *step, int32_t rows)
{
    int32_t every = 0;
    for (int32_t k = 0; k < rows; k++) {
        int32_t at = p->first_kept + k, i = p->non_spec_rows ? p->non_spec_rows[at] : at;
        int64_t offset = (int64_t)step->checkpoint_len[i] - ((int64_t)step->seq_len[i] - step->query_len[i]);
        int inside = step->checkpoint_len[i] && offset > 0 && offset < step->query_len[i];
        p->checkpoint_offset[k] = inside ? (int32_t)offset : 0;
        every = gcd(every, p->checkpoint_offset[k]);
    }
    return every;
}

/* The first row that asks for one, or -1. */
static int32_t find_asked(const gdn_step *step)
{
    const int32_t *len = step->checkpoint_len;
    int32_t i = 0;
    if (!len || !gdn_any_bits(len, step->table_rows)) return -1;
    while (!len[i]) i++;
    return i;
}

gdn_status gdn_checkpoints_find(gdn_partition *p, const gdn_settings *settings, const gdn_step *step, gdn_error *error)
{
    const gdn_config *c = &settings->config;
    int32_t rows, every, grid = c->prefill_checkpoint_alignment, asked = find_asked(step);
    p->has_checkpoints = p->num_kept_rows = p->checkpoint_every = p->num_checkpoints = p->first_kept = 0;
    p->checkpoints_asked = asked >= 0;
    if (p->checkpoints_asked && !settings->takes_checkpoints)
        GDN_REFUSE(error, "rows[%d].checkpoint_len = %d, want 0 but under strict", asked, step->checkpoint_len[asked]);
    if (!p->has_prefills || !settings->has_checkpoints) return GDN_OK;
    if (settings->takes_checkpoints) {
        if (!p->checkpoints_asked) return GDN_OK;
        p->first_kept = p->first_prefill;
        rows = p->num_non_spec - p->first_kept;
        grid = every = take_offsets(p, step, rows);
    } else {
        rows = p->num_reqs < p->num_non_spec ? p->num_reqs : p->num_non_spec;
        if (p->speculative) rows = p->num_non_spec;
        every = find_offsets(p, settings, step, rows);
    }
    p->has_checkpoints = every > 0;
    p->num_kept_rows = p->has_checkpoints ? rows : 0;
    int planned = c->gdn_prefill_backend == GDN_PREFILL_FLASHINFER && grid % GDN_CHUNK == 0 && !p->has_bucket;
    if (!p->has_checkpoints || !planned) return GDN_OK;
    p->checkpoint_every = every;
    plan(p);
    return GDN_OK;
}
