/* Validation of a configuration, its defaults, and the sizes that follow from it. */
#include "base/config.h"

#include "base/config_fields.h"

#include <stddef.h>

#define ONE(name, low, high, value, rules, kind) +1
_Static_assert(offsetof(gdn_config, device) + (0 GDN_CONFIG_FIELDS(ONE) - 1) * sizeof(int32_t) == sizeof(gdn_config),
               "config_fields.h: every number of gdn_config has a line there");

void gdn_config_init(gdn_config *config)
{
    if (!config) return;
#define X(name, low, high, value, rules, kind) .name = (value),
    *config = (gdn_config){ GDN_CONFIG_FIELDS(X) .size = sizeof *config };
#undef X
}

enum { EVERY, LATEST, STRICT, NEWER };

static gdn_status check_ranges(const gdn_config *c, gdn_error *error)
{
#define X(name, low, high, value, rules, kind)    \
    if (c->name < (low) || c->name > (int)(high)) \
        GDN_REFUSE(error, #name " = %d, want %d .. %d", c->name, (int)(low), (int)(high));
    GDN_CONFIG_FIELDS(X)
#undef X
    return GDN_OK;
}

/* Values by the words that options take, in C the ends of GDN_*: who set an option by a word knows no number. */
const char *gdn_rules_word(int32_t rules)
{
    static const char *const WORDS[] = { "strict", "vllm-2026-04", "vllm-2026-08", "vllm-2026-11" };
    return WORDS[rules];
}

typedef enum option_kind { NUMBER, OR_NONE, FLAG, CODE, GRAPH, DEVICE } option_kind;

/* The one code that some rule sets lack is the backend of prefills. */
static gdn_status refuse_option(const char *name, option_kind kind, int32_t value, const char *rules, gdn_error *error)
{
    if (kind == FLAG) GDN_REFUSE(error, "%s = true, want false but under %s", name, rules);
    if (kind == CODE) GDN_REFUSE(error, "%s = \"flashinfer\", want \"triton\" but under %s", name, rules);
    GDN_REFUSE(error, "%s = %d, want 0 but under %s", name, value, rules);
}

static gdn_status check_rules_of_options(const gdn_config *c, gdn_error *error)
{
    if (c->full_cuda_graph == GDN_GRAPH_MIXED && c->rules != GDN_RULES_STRICT)
        GDN_REFUSE(error, "full_cuda_graph = \"mixed\", want false or true but under strict");
    int latest = c->rules == GDN_RULES_VLLM_2026_11, strict = c->rules == GDN_RULES_STRICT;
    int allowed[] = { [EVERY] = 1, [LATEST] = latest, [STRICT] = strict, [NEWER] = latest || strict };
    static const char *const NAMES[] = { "any", "vllm-2026-11", "strict", "strict and vllm-2026-11" };
#define X(name, low, high, value, rules, kind) \
    if (!allowed[rules] && c->name) return refuse_option(#name, kind, c->name, NAMES[rules], error);
    GDN_CONFIG_FIELDS(X)
#undef X
    return GDN_OK;
}

static int32_t smaller(int64_t a, int64_t b)
{
    return (int32_t)(a < b ? a : b);
}

static int32_t larger(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

/* strict writes S + 1 states a row, so a table must have room for them. */
static gdn_status check_strict_width(const gdn_settings *s, gdn_error *error)
{
    int32_t need = s->config.num_speculative_tokens + 1;
    if (s->config.rules != GDN_RULES_STRICT) return GDN_OK;
    if (s->config.mamba_cache_mode == GDN_CACHE_ALIGN && s->config.num_speculative_blocks + 1 < need)
        return gdn_fail(error, GDN_EINVAL, "num_speculative_blocks = %d, want >= %d (num_speculative_tokens)",
                        s->config.num_speculative_blocks, need - 1);
    if (s->config.max_blocks_per_row < s->window)
        return gdn_fail(error, GDN_EINVAL, "max_blocks_per_row = %d, want >= %d", s->config.max_blocks_per_row,
                        s->window);
    return GDN_OK;
}

static gdn_status resolve_slots(gdn_settings *s, const int32_t *num_slots, gdn_error *error)
{
    const gdn_config *c = &s->config;
    int32_t blocks = smaller((int64_t)c->max_requests * c->max_blocks_per_row, INT32_MAX - 1);
    for (int32_t g = 0; g < c->num_groups; g++) {
        s->num_slots[g] = num_slots ? num_slots[g] : 1 + blocks;
        if (s->num_slots[g] < 1)
            return gdn_fail(error, GDN_EINVAL, "num_slots[%d] = %d, want >= 1 (slot 0 is null)", g, s->num_slots[g]);
    }
    return GDN_OK;
}

gdn_status gdn_settings_make(const gdn_config *config, gdn_settings *out, gdn_error *error)
{
    if (!config) return gdn_fail(error, GDN_EINVAL, "config = NULL, want a configuration");
    if (config->size != sizeof *config)
        return gdn_fail(error, GDN_EINVAL, "config.size = %u, want %zu", config->size, sizeof *config);
    gdn_status status = check_ranges(config, error);
    if (!status) status = check_rules_of_options(config, error);
    if (status) return status;

    gdn_settings s = { .config = *config };
    gdn_config *c = &s.config;
    int64_t states = c->num_speculative_tokens + 1;
    s.cap = smaller((int64_t)c->max_num_seqs * states, INT32_MAX);
    if (c->max_cudagraph_capture_size) s.cap = smaller(s.cap, c->max_cudagraph_capture_size);

    if (!c->max_rows) c->max_rows = larger(c->max_num_seqs, s.cap);
    if (c->max_rows > GDN_MAX_ROWS)
        return gdn_fail(error, GDN_EINVAL, "max_rows = %d (from max_num_seqs = %d), want 1 .. %d", c->max_rows,
                        c->max_num_seqs, GDN_MAX_ROWS);
    if (!c->decode_context_parallel_size) c->decode_context_parallel_size = 1;
    if (!c->max_requests) c->max_requests = c->max_rows;

    s.has_buckets = c->full_cuda_graph == GDN_GRAPH_MIXED;
    int32_t is_2026_11 = c->rules == GDN_RULES_VLLM_2026_11, align = c->mamba_cache_mode == GDN_CACHE_ALIGN;
    s.windowed = align || (is_2026_11 && c->mamba_cache_mode == GDN_CACHE_ALL);
    s.window = s.windowed ? c->num_speculative_blocks + 1 : (int32_t)states;
    s.takes_checkpoints = c->rules == GDN_RULES_STRICT;
    s.has_checkpoints = s.takes_checkpoints || (align && c->num_prefill_checkpoint_blocks && c->hash_block_size &&
                                                c->cache_hit_alignment_tokens);
    s.drop_eagle_block = c->drop_eagle_block && c->num_speculative_tokens && !c->num_hash_lookahead_tokens;
    if (!c->max_blocks_per_row) c->max_blocks_per_row = s.window;

    /* vllm-2026-04 pads rows up to the token count, never past CAP. */
    s.row_capacity = larger(c->max_rows, smaller(s.cap, c->max_num_batched_tokens));
    if (s.has_buckets) s.row_capacity = c->max_rows + 1; /* the last row of a bucket's arrays is always empty */
    s.threshold = c->num_speculative_tokens == 0 ? 1 : c->num_speculative_tokens * (1 + c->parallel_drafting) + 1;
    if (c->decode_context_parallel_size > 1) s.threshold = 1;

    status = check_strict_width(&s, error);
    if (!status) status = resolve_slots(&s, config->num_slots, error);
    if (status) return status;
    c->num_slots = NULL;
    *out = s;
    return GDN_OK;
}

int32_t gdn_largest_pool(const gdn_settings *settings)
{
    int32_t most = 0;
    for (int32_t g = 0; g < settings->config.num_groups; g++)
        if (settings->num_slots[g] > most) most = settings->num_slots[g];
    return most;
}
