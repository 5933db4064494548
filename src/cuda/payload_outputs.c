/* Which outputs a step has, and which blocks of the launch fill them. */
#include "cuda/fill_element.h"
#include "fill/metadata.h"
#include "cuda/payload.h"

#include <string.h>

static void add(gdn_payload *y, const gdn_tensor *view, int kind, int spec, uint32_t groups, size_t stride)
{
    gdn_head *h = &y->launch->head;
    uint32_t n = (uint32_t)view->shape[0] * (uint32_t)view->shape[1];
    if (!view->data || !n) return;
    h->first_block[h->num_segments] = y->blocks;
    h->segments[h->num_segments++] =
        (gdn_segment){ .out = (uint64_t)(uintptr_t)view->data, .stride = (uint32_t)stride, .per_group = n,
                       .elements = n * groups, .kind = (uint16_t)kind, .spec = (uint16_t)spec };
    y->blocks += (n * groups + GDN_THREADS - 1) / GDN_THREADS;
}

/* The most that a segment stages, of what fits at all. */
static uint32_t staged_room(const gdn_head *h)
{
    uint32_t room = 0;
    for (uint32_t i = 0; i < h->num_segments; i++) {
        uint32_t bytes = gdn_staged_bytes(gdn_searched(h, &h->segments[i]));
        if (bytes > room && bytes <= GDN_SHARED) room = bytes;
    }
    return room;
}

/* X(field, kind, class, groups, bytes to the next group's array or to the second array), in the order of the launch's
 * blocks: what takes most work comes first. The names below are those of gdn_payload_plan_outputs. */
#define OUTPUTS(X)                                                                            \
    X(spec_state_indices_tensor, GDN_FILL_STATES, GDN_SPEC, groups, STRIDE)                   \
    X(non_spec_state_indices_tensor, GDN_FILL_STATES, GDN_NON_SPEC, groups, STRIDE)           \
    X(spec_read_state_indices, GDN_FILL_READS, GDN_SPEC, groups, STRIDE)                      \
    X(non_spec_read_state_indices, GDN_FILL_READS, GDN_NON_SPEC, groups, STRIDE)              \
    X(spec_query_start_loc, bounds, GDN_SPEC, 1, NONE)                                        \
    X(non_spec_query_start_loc, bounds, GDN_NON_SPEC, 1, NONE)                                \
    X(spec_sequence_masks, GDN_FILL_MASK, GDN_SPEC, 1, NONE)                                  \
    X(num_accepted_tokens, GDN_FILL_ACCEPTED, GDN_SPEC, 1, NONE)                              \
    X(spec_conv_shift, GDN_FILL_SHIFT, GDN_SPEC, 1, NONE)                                     \
    X(non_spec_conv_shift, GDN_FILL_SHIFT, GDN_NON_SPEC, 1, NONE)                             \
    X(spec_token_indx, tokens, GDN_SPEC, 1, NONE)                                             \
    X(non_spec_token_indx, GDN_FILL_TOKENS, GDN_NON_SPEC, 1, NONE)                            \
    X(has_initial_state, GDN_FILL_INITIAL, GDN_NON_SPEC, 1, NONE)                             \
    X(chunk_indices, GDN_FILL_CHUNKS, GDN_NON_SPEC, 1, NONE)                                  \
    X(chunk_offsets, GDN_FILL_CHUNK_STARTS, GDN_NON_SPEC, 1, NONE)                            \
    X(batch_ptr, GDN_FILL_TILES, GDN_NON_SPEC, 1, TO_TILES)                                   \
    X(prefill_query_start_loc, prefill_bounds, GDN_NON_SPEC, 1, NONE)                         \
    X(checkpoint_offsets, GDN_FILL_KEPT_OFFSETS, GDN_NON_SPEC, 1, NONE)                       \
    X(checkpoint_state_indices, GDN_FILL_KEPT_STATES, GDN_NON_SPEC, groups, STRIDE)           \
    X(checkpoint_cu_starts, GDN_FILL_KEPT_STARTS, GDN_NON_SPEC, 1, NONE)                      \
    X(checkpoint_rows, GDN_FILL_KEPT_ROWS, GDN_NON_SPEC, 1, NONE)

#define ONE(name, kind, spec, groups, stride) +1
_Static_assert(GDN_MAX_SEGMENTS == 0 OUTPUTS(ONE), "kernel_params.h: GDN_MAX_SEGMENTS is the number of OUTPUTS here");

/* Every element of every view, and nothing else, is written: the views say how long the outputs are. */
void gdn_payload_plan_outputs(gdn_payload *y, const gdn_arena *arena, const gdn_fill_inputs *in)
{
    const gdn_partition *p = in->partition;
    uint32_t groups = (uint32_t)in->settings->config.num_groups;
    gdn_head *head = &y->launch->head;
    int wide = in->settings->config.query_start_loc_dtype == GDN_INT64;
    int bounds = wide ? GDN_FILL_WIDE_BOUNDS : GDN_FILL_BOUNDS,
        tokens = p->mixed ? GDN_FILL_TOKENS : GDN_FILL_POSITIONS;
    int prefill_bounds = wide ? GDN_FILL_WIDE_PREFILL_BOUNDS : GDN_FILL_PREFILL_BOUNDS;
    gdn_metadata m = { 0 };
    gdn_metadata_set(&m, arena, in->settings, p);
    if (p->first_prefill == 0) m.prefill_query_start_loc.data = NULL; /* the non-spec rows' own */
    y->blocks = 0;
    memset(head->first_block, 0xff, sizeof head->first_block);
#define STRIDE(name) arena->group_stride[GDN_FIELD_##name]
#define NONE(name) 0
#define TO_TILES(name) arena->offset[GDN_FIELD_token_chunk_offset_ptr] - arena->offset[GDN_FIELD_##name]
#define ADD(name, kind, spec, groups, stride) add(y, &m.name, kind, spec, groups, stride(name));
    OUTPUTS(ADD)
    y->room = staged_room(head);
}
