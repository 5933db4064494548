/* Shapes from scalars. The vLLM rule sets let the host's num_reqs differ from the rows that it passes: there the
 * length of one tensor is believed, and the others must go with it. */
#include "verify/verify_shapes.h"

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int is_for_graph(const gdn_settings *settings, const gdn_metadata *m, int speculative)
{
    int64_t cap = settings->cap, rows = speculative ? m->num_spec_decodes : m->num_decodes;
    if (settings->config.rules == GDN_RULES_STRICT) rows = m->num_rows;
    int asked = settings->config.full_cuda_graph == GDN_GRAPH_DECODE;
    return asked && m->num_prefills == 0 && rows <= cap && m->num_spec_decode_tokens <= cap;
}

#define WANT(name, length) (s->want[GDN_FIELD_##name] = (length))

static void expect_spec(gdn_shapes *s, const gdn_settings *settings, const gdn_metadata *m, int64_t n, int64_t non_spec)
{
    int64_t states = settings->config.num_speculative_tokens + 1, listed = m->num_spec_decode_tokens;
    int strict = settings->config.rules == GDN_RULES_STRICT;
    WANT(spec_query_start_loc, n + 1);
    WANT(spec_state_indices_tensor, strict ? n * states : n * m->spec_state_indices_tensor.shape[1]);
    WANT(num_accepted_tokens, n);
    WANT(spec_sequence_masks, s->mixed ? n + non_spec : s->for_graph || strict ? n : GDN_ANY_LENGTH);
    WANT(spec_token_indx, s->mixed ? listed : smaller(m->num_spec_decodes * states, listed));
    WANT(non_spec_token_indx, s->mixed ? m->num_prefill_tokens : 0);
    if (!strict) return;
    WANT(spec_read_state_indices, n);
    WANT(spec_conv_shift, n);
}

static void expect_prefills(gdn_shapes *s, const gdn_settings *settings, const gdn_metadata *m, int64_t n)
{
    int64_t prefills = n - (s->mixed ? 0 : m->num_decodes);
    WANT(has_initial_state, n);
    if (settings->config.gdn_prefill_backend == GDN_PREFILL_TRITON) {
        WANT(chunk_indices, GDN_ANY_LENGTH);
        WANT(chunk_offsets, (settings->config.rules == GDN_RULES_VLLM_2026_04 ? n : prefills) + 1);
    }
    WANT(batch_ptr, GDN_ANY_LENGTH);
    WANT(token_chunk_offset_ptr, m->batch_ptr.shape[0]);
    WANT(prefill_query_start_loc, prefills + 1);
    WANT(prefill_state_indices, prefills);
    WANT(prefill_has_initial_state, prefills);
    if (settings->config.rules == GDN_RULES_STRICT) WANT(prefill_read_state_indices, prefills);
    if (!m->checkpoint_offsets.data) return;
    int64_t kept = s->mixed ? n : smaller(m->num_rows, n);
    int strict = settings->config.rules == GDN_RULES_STRICT;
    if (strict) kept = prefills;
    WANT(checkpoint_offsets, kept);
    WANT(checkpoint_state_indices, kept);
    if (strict && settings->config.gdn_prefill_backend == GDN_PREFILL_TRITON) WANT(checkpoint_chunk, kept);
    if (!m->checkpoint_every_n_tokens) return;
    WANT(checkpoint_cu_starts, prefills + 1);
    WANT(checkpoint_rows, kept);
}

/* Of R rows and T tokens, whatever is in them. */
static void expect_bucket(gdn_shapes *s, const gdn_settings *settings, int64_t R, int64_t T)
{
    int64_t states = settings->config.num_speculative_tokens + 1;
    int64_t tiles = (T + GDN_TILE - 1) / GDN_TILE + R, length = 2 * (tiles < GDN_MIN_TILES ? GDN_MIN_TILES : tiles);
    if (states > 1) {
        WANT(spec_query_start_loc, R + 1);
        WANT(spec_state_indices_tensor, R * states);
        WANT(num_accepted_tokens, R);
        WANT(spec_read_state_indices, R);
        WANT(spec_conv_shift, R);
        WANT(spec_token_indx, T);
        WANT(non_spec_token_indx, T);
    }
    WANT(non_spec_query_start_loc, R + 2);
    WANT(non_spec_state_indices_tensor, R + 1);
    WANT(non_spec_read_state_indices, R + 1);
    WANT(non_spec_conv_shift, R + 1);
    WANT(has_initial_state, R + 1);
    WANT(decode_query_start_loc, R + 1);
    WANT(decode_state_indices, R);
    WANT(decode_read_state_indices, R);
    WANT(prefill_query_start_loc, R + 2);
    WANT(prefill_state_indices, R + 1);
    WANT(prefill_read_state_indices, R + 1);
    WANT(prefill_has_initial_state, R + 1);
    WANT(chunk_indices, 2 * ((T + GDN_CHUNK - 1) / GDN_CHUNK + R));
    WANT(chunk_offsets, R + 2);
    WANT(checkpoint_offsets, R + 1);
    WANT(checkpoint_state_indices, R + 1);
    WANT(checkpoint_chunk, R + 1);
    WANT(batch_ptr, length);
    WANT(token_chunk_offset_ptr, length);
    WANT(token_class, T);
    WANT(live_counts, GDN_LIVE_COUNTS);
}

void gdn_shapes_expect(gdn_shapes *s, const gdn_settings *settings, const gdn_metadata *m)
{
    int32_t rules = settings->config.rules;
    s->speculative = m->num_spec_decodes > 0;
    s->has_prefills = m->num_prefills > 0;
    s->mixed = s->speculative && s->has_prefills;
    s->for_graph = is_for_graph(settings, m, s->speculative);
    int64_t padded = smaller(rules == GDN_RULES_VLLM_2026_04 ? m->num_actual_tokens : m->num_rows, settings->cap);
    int64_t spec = s->for_graph ? padded : m->num_spec_decodes, n = (int64_t)m->non_spec_query_start_loc.shape[0] - 1;
    if (s->for_graph) n = padded;
    else if (rules == GDN_RULES_STRICT) n = (int64_t)m->num_decodes + m->num_prefills;

    for (int32_t f = 0; f < GDN_NUM_FIELDS; f++) s->want[f] = GDN_NO_TENSOR;
    s->has_bucket = settings->config.full_cuda_graph == GDN_GRAPH_MIXED;
    if (s->has_bucket) {
        expect_bucket(s, settings, m->num_rows, m->num_actual_tokens);
        return;
    }
    if (s->speculative) expect_spec(s, settings, m, spec, n);
    if (s->speculative && !s->mixed) return;
    WANT(non_spec_query_start_loc, n + 1);
    WANT(non_spec_state_indices_tensor, n);
    if (rules == GDN_RULES_STRICT) {
        WANT(non_spec_read_state_indices, n);
        WANT(non_spec_conv_shift, n);
    }
    if (s->has_prefills) expect_prefills(s, settings, m, n);
}
