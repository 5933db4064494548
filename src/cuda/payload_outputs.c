/* Which outputs a step has, and which blocks of the launch fill them. */
#include "cuda/fill_element.h"
#include "fill/metadata.h"
#include "cuda/pack_launch.h"

#include <string.h>

/* What of an output is not padding: rows `first` .. first + live - 1 of a class, or as many tokens, chunks or tiles. */
typedef struct part {
    int32_t first, live;
} part;

/* Slots are written as far as those of the last step reach: what stands behind the view, or where there is none, is
 * padding then. */
static void add(gdn_payload *y, gdn_arena *arena, gdn_field field, const gdn_tensor *view, int kind, int spec,
                uint32_t groups, size_t stride, part of)
{
    gdn_head *h = &y->launch->head;
    int32_t length = view->data ? view->shape[0] * view->shape[1] : 0;
    int32_t columns = length ? view->shape[1] : 1, holds_slots = arena->live[field] >= 0;
    if (!length) of = (part){ 0, 0 };
    if (holds_slots && of.live > length / columns) of.live = length / columns; /* vLLM cuts such arrays */
    uint32_t n = (uint32_t)gdn_arena_reach(arena, field, of.live * columns, length);
    if (!n) return;
    h->first_block[h->num_outputs] = y->blocks;
    h->outputs[h->num_outputs++] = (gdn_output){ .out = (uint64_t)(uintptr_t)gdn_arena_first(arena, field),
                                                 .stride = (uint32_t)stride,
                                                 .per_group = n,
                                                 .elements = n * groups,
                                                 .kind = (uint16_t)kind,
                                                 .spec = (uint16_t)spec,
                                                 .first = (uint32_t)of.first,
                                                 .live = (uint32_t)of.live };
    y->blocks += (n * groups + GDN_THREADS - 1) / GDN_THREADS;
}

/* The most shared memory that an output wants, of those that fit. */
static uint32_t most_shared(const gdn_head *h)
{
    uint32_t shared_bytes = 0;
    for (uint32_t i = 0; i < h->num_outputs; i++) {
        uint32_t bytes = gdn_searched_bytes(gdn_searched(h, &h->outputs[i]));
        if (bytes > shared_bytes && bytes <= GDN_SHARED) shared_bytes = bytes;
    }
    return shared_bytes;
}

/* X(field, kind, class, groups, bytes to the next group's array or to the second array, part), in the order of the
 * launch's blocks: what takes most work comes first. The names below are those of gdn_payload_plan_outputs. */
#define OUTPUTS(X)                                                                        \
    X(spec_state_indices_tensor, GDN_FILL_STATES, GDN_SPEC, groups, STRIDE, spec)         \
    X(non_spec_state_indices_tensor, GDN_FILL_STATES, GDN_NON_SPEC, groups, STRIDE, rest) \
    X(spec_read_state_indices, GDN_FILL_READS, GDN_SPEC, groups, STRIDE, spec)            \
    X(non_spec_read_state_indices, GDN_FILL_READS, GDN_NON_SPEC, groups, STRIDE, rest)    \
    X(decode_state_indices, GDN_FILL_STATES, GDN_NON_SPEC, groups, STRIDE, decodes)       \
    X(decode_read_state_indices, GDN_FILL_READS, GDN_NON_SPEC, groups, STRIDE, decodes)   \
    X(prefill_state_indices, GDN_FILL_STATES, GDN_NON_SPEC, groups, STRIDE, prefills)     \
    X(prefill_read_state_indices, GDN_FILL_READS, GDN_NON_SPEC, groups, STRIDE, prefills) \
    X(spec_query_start_loc, bounds, GDN_SPEC, 1, NONE, spec)                              \
    X(non_spec_query_start_loc, bounds, GDN_NON_SPEC, 1, NONE, rest)                      \
    X(decode_query_start_loc, bounds, GDN_NON_SPEC, 1, NONE, decodes)                     \
    X(prefill_query_start_loc, prefill_bounds, GDN_NON_SPEC, 1, NONE, prefills)           \
    X(spec_sequence_masks, GDN_FILL_MASK, GDN_SPEC, 1, NONE, masked)                      \
    X(num_accepted_tokens, GDN_FILL_ACCEPTED, GDN_SPEC, 1, NONE, spec)                    \
    X(spec_conv_shift, GDN_FILL_SHIFT, GDN_SPEC, 1, NONE, spec)                           \
    X(non_spec_conv_shift, GDN_FILL_SHIFT, GDN_NON_SPEC, 1, NONE, rest)                   \
    X(spec_token_indx, tokens, GDN_SPEC, 1, NONE, spec_tokens)                            \
    X(non_spec_token_indx, GDN_FILL_TOKENS, GDN_NON_SPEC, 1, NONE, tokens_of_rest)        \
    X(token_class, GDN_FILL_CLASSES, GDN_SPEC, 1, NONE, all)                              \
    X(has_initial_state, GDN_FILL_INITIAL, GDN_NON_SPEC, 1, NONE, rest)                   \
    X(prefill_has_initial_state, GDN_FILL_INITIAL, GDN_NON_SPEC, 1, NONE, prefills)       \
    X(chunk_indices, GDN_FILL_CHUNKS, GDN_NON_SPEC, 1, NONE, chunks)                      \
    X(chunk_offsets, GDN_FILL_CHUNK_STARTS, GDN_NON_SPEC, 1, NONE, with_chunks)           \
    X(batch_ptr, GDN_FILL_TILES, GDN_NON_SPEC, 1, TO_TILES, tiles)                        \
    X(live_counts, GDN_FILL_COUNTS, GDN_NON_SPEC, 1, NONE, all)                           \
    X(checkpoint_offsets, GDN_FILL_KEPT_OFFSETS, GDN_NON_SPEC, 1, NONE, kept)             \
    X(checkpoint_state_indices, GDN_FILL_KEPT_STATES, GDN_NON_SPEC, groups, STRIDE, kept) \
    X(checkpoint_chunk, GDN_FILL_KEPT_CHUNKS, GDN_NON_SPEC, 1, NONE, kept)                \
    X(checkpoint_cu_starts, GDN_FILL_KEPT_STARTS, GDN_NON_SPEC, 1, NONE, all)             \
    X(checkpoint_rows, GDN_FILL_KEPT_ROWS, GDN_NON_SPEC, 1, NONE, all)

#define ONE(name, kind, spec, groups, stride, part) +1
_Static_assert(GDN_MAX_OUTPUTS == 0 OUTPUTS(ONE), "kernel_params.h: GDN_MAX_OUTPUTS is the number of OUTPUTS here");

/* Every element of every view is written, and nothing else but slots of the last step: the views say how long the
 * outputs are. */
void gdn_payload_plan_outputs(gdn_payload *y, gdn_arena *arena, const gdn_fill_inputs *in)
{
    const gdn_partition *p = in->partition;
    uint32_t groups = (uint32_t)in->settings->config.num_groups;
    gdn_head *head = &y->launch->head;
    int wide = in->settings->config.query_start_loc_dtype == GDN_INT64;
    int bounds = wide ? GDN_FILL_WIDE_BOUNDS : GDN_FILL_BOUNDS;
    int tokens = p->mixed || p->has_bucket ? GDN_FILL_TOKENS : GDN_FILL_POSITIONS;
    int prefill_bounds = wide ? GDN_FILL_WIDE_PREFILL_BOUNDS : GDN_FILL_PREFILL_BOUNDS;
    if (p->has_bucket) prefill_bounds = bounds; /* positions in the non-spec tokens, not in the prefills' */
    part all = { 0, 0 }, spec = { 0, p->num_spec }, rest = { 0, p->num_non_spec }, decodes = { 0, p->num_decodes };
    part prefills = { p->first_prefill, p->num_non_spec - p->first_prefill };
    /* For a captured graph, the mask speaks of the first rows only, as on the CPU. */
    part masked = { 0, p->for_graph ? p->num_spec : p->rows };
    part spec_tokens = { 0, p->num_spec_decode_tokens };
    part tokens_of_rest = { 0, p->tokens - p->num_spec_decode_tokens };
    part chunks = { 0, p->chunks }, with_chunks = { 0, p->num_non_spec - p->chunk_row }, tiles = { 0, p->tiles };
    part kept = { 0, p->num_kept_rows };
    gdn_metadata m = { 0 };
    gdn_metadata_set(&m, arena, in->settings, p);
    y->blocks = 0;
    memset(head->first_block, 0xff, sizeof head->first_block);
#define STRIDE(name) arena->group_stride[GDN_FIELD_##name]
#define NONE(name) 0
#define TO_TILES(name) arena->offset[GDN_FIELD_token_chunk_offset_ptr] - arena->offset[GDN_FIELD_##name]
#define ADD(name, kind, spec, groups, stride, part) \
    add(y, arena, GDN_FIELD_##name, &m.name, kind, spec, groups, stride(name), part);
    OUTPUTS(ADD)
    y->shared_bytes = most_shared(head);
}
