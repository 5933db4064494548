/* From the metadata of a step to the questions about it: this sees what a caller sees, and no partition. */
#include "verify/make_verify_input.h"

#include "verify/verify_element.h"
#include "verify/verify_shapes.h"

/* The first tensor whose length contradicts the scalars, or GDN_NUM_FIELDS. */
static uint32_t find_misshapen(const gdn_metadata *m, const gdn_shapes *shapes)
{
    const gdn_tensor *tiles = &m->batch_ptr, *states = &m->spec_state_indices_tensor;
    if (tiles->data && (tiles->shape[0] % 2 || tiles->shape[0] < 2 * GDN_MIN_TILES)) return GDN_FIELD_batch_ptr;
    if (states->data && states->shape[1] < 1) return GDN_FIELD_spec_state_indices_tensor;
#define X(name, type, capacity, per_group)                                                                             \
    {                                                                                                                  \
        int64_t want = shapes->want[GDN_FIELD_##name], length = (int64_t)m->name.shape[0] * m->name.shape[1];          \
        if (!m->name.data != (want == GDN_NO_TENSOR) || (want >= 0 && want != length)) return GDN_FIELD_##name;        \
    }
    GDN_FIELDS(X)
#undef X
    return GDN_NUM_FIELDS;
}

static void set_rows(gdn_verify_input *p, const gdn_settings *settings, const gdn_metadata *m, const gdn_shapes *s)
{
    int32_t n = m->non_spec_query_start_loc.shape[0] - 1, longest = settings->config.max_num_batched_tokens;
    int32_t plain = !s->speculative, spec_tokens = m->num_spec_decode_tokens, first = plain && m->num_prefills != 0;
    int32_t others = m->num_decode_tokens + m->num_prefill_tokens, known = p->strict || s->mixed;
    p->rows[0] = (gdn_verify_rows){ .real = s->for_graph ? m->num_decodes : n, .least = p->strict, .most = longest,
                                     .least_end = known ? others : 0, .most_end = known ? others : longest,
                                     .boundaries = GDN_FIELD_non_spec_query_start_loc };
    /* Without plain rows, vLLM hands out the batch's own first boundaries: empty rows may stand among them. */
    p->rows[1] = (gdn_verify_rows){ .real = m->num_spec_decodes,
                                    .least = p->strict,
                                    .most = p->strict ? p->most_accepted : longest,
                                    .most_end = spec_tokens,
                                    .least_end = known ? spec_tokens : 0,
                                    .boundaries = GDN_FIELD_spec_query_start_loc };
    p->mixed = s->mixed;
    p->for_graph = s->for_graph;
    p->num_spec_decodes = m->num_spec_decodes;
    p->decodes = first || (plain && p->strict) ? m->num_decodes : -1;
    p->decode_tokens = m->num_decode_tokens;
    p->tokens = spec_tokens + others;
    p->first_prefill = plain ? m->num_decodes : 0;
    p->tokens_before_prefills = plain ? m->num_decode_tokens : 0;
    p->columns = (uint32_t)m->spec_state_indices_tensor.shape[1];
    p->least_prefill = p->strict || settings->config.rules == GDN_RULES_VLLM_2026_11 ? 1 : 2;
    p->kept_grid = settings->config.prefill_checkpoint_alignment ? settings->config.prefill_checkpoint_alignment : 1;
    if (p->strict) p->kept_grid = settings->config.checkpoint_any ? 1 : GDN_CHUNK;
    p->kept_boundaries = p->strict ? GDN_FIELD_prefill_query_start_loc : GDN_FIELD_non_spec_query_start_loc;
    p->kept_every = m->checkpoint_every_n_tokens;
    p->num_checkpoints = m->num_checkpoints;
    p->kept_others = m->checkpoint_offsets.shape[0] - (m->prefill_query_start_loc.shape[0] - 1);
    p->chunk_boundaries = settings->config.rules == GDN_RULES_VLLM_2026_04 ? GDN_FIELD_non_spec_query_start_loc
                                                                           : GDN_FIELD_prefill_query_start_loc;
}

/* Every class is there, decodes next to speculative rows too, and tensors do not tell how many rows are real. */
static void set_bucket(gdn_verify_input *p, const gdn_metadata *m)
{
    const int32_t live[GDN_LIVE_COUNTS] = { m->num_prefills,           m->num_prefill_tokens,
                                            m->num_decodes,            m->num_decode_tokens,
                                            m->num_spec_decodes,       m->num_spec_decode_tokens,
                                            m->num_actual_tokens,      m->num_prefills + m->num_decodes +
                                                                           m->num_spec_decodes };
    for (int i = 0; i < GDN_LIVE_COUNTS; i++) p->live[i] = live[i];
    p->rows[0].real = m->num_decodes + m->num_prefills;
    p->decodes = p->first_prefill = m->num_decodes;
    p->tokens_before_prefills = 0;
    p->has_lists = m->spec_token_indx.data != NULL;
    p->bucket_rows = m->num_rows;
    p->bucket_tokens = m->num_actual_tokens;
}

static void set_fields(gdn_verify_input *p, const gdn_settings *settings, const gdn_arena *arena, const gdn_metadata *m)
{
    uint32_t num_groups = (uint32_t)settings->config.num_groups;
    int32_t BOUND = settings->config.query_start_loc_dtype;
#define X(name, type, capacity_, per_group)                                                                            \
    {                                                                                                                  \
        const gdn_tensor *t = &m->name;                                                                                \
        uint32_t f = GDN_FIELD_##name, length = (uint32_t)t->shape[0] * (uint32_t)t->shape[1];                         \
        uint32_t stride = (uint32_t)arena->group_stride[f], groups = per_group ? num_groups : 1;                       \
        void *buffer = arena->capacity[f] ? gdn_arena_first(arena, f) : NULL;                                          \
        p->fields[f] = (gdn_verify_tensor){ .data = (uintptr_t)t->data,                                                \
                                            .stride = stride,                                                          \
                                            .elements = length,                                                        \
                                            .groups = t->data ? groups : 0,                                            \
                                            .dtype = t->dtype };                                                       \
        p->unused[f] = (gdn_unused){ .buffer = settings->config.poison ? (uintptr_t)buffer : 0,                        \
                                     .stride = stride,                                                                 \
                                     .used = t->data == buffer ? length * gdn_element_size(t->dtype) : 0,              \
                                     .bytes = (uint32_t)arena->capacity[f] * gdn_element_size(type),                   \
                                     .groups = groups };                                                               \
    }
    GDN_FIELDS(X)
#undef X
}

/* Blocks for a device: each field's elements, then each buffer's unused memory. */
static void set_blocks(gdn_verify_input *p)
{
    p->blocks = 0;
    for (uint32_t s = 0; s < 2 * GDN_NUM_FIELDS; s++) {
        const gdn_verify_tensor *t = &p->fields[s % GDN_NUM_FIELDS];
        const gdn_unused *u = &p->unused[s % GDN_NUM_FIELDS];
        uint32_t threads = t->elements * t->groups;
        if (s >= GDN_NUM_FIELDS) threads = u->buffer ? gdn_stretches(u) * u->groups : 0;
        p->first_block[s] = p->blocks;
        p->blocks += (threads + GDN_VERIFY_THREADS - 1) / GDN_VERIFY_THREADS;
    }
}

uint32_t gdn_make_verify_input(gdn_verify_input *p, const gdn_settings *settings, const gdn_arena *arena,
                               const gdn_metadata *meta)
{
    gdn_shapes shapes;
    gdn_shapes_expect(&shapes, settings, meta);
    uint32_t misshapen = settings->config.check ? find_misshapen(meta, &shapes) : GDN_NUM_FIELDS;
    set_fields(p, settings, arena, meta);
    if (misshapen < GDN_NUM_FIELDS || !settings->config.check)
        for (int32_t f = 0; f < GDN_NUM_FIELDS; f++) p->fields[f] = (gdn_verify_tensor){ 0 };
    set_rows(p, settings, meta, &shapes);
    p->has_bucket = shapes.has_bucket;
    if (p->has_bucket) set_bucket(p, meta);
    set_blocks(p);
    return misshapen;
}
