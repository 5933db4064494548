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

/* Every element of every view, and nothing else, is written: the views say how long the outputs are. */
void gdn_payload_plan_outputs(gdn_payload *y, const gdn_arena *arena, const gdn_fill_inputs *in)
{
    const gdn_partition *p = in->partition;
    uint32_t groups = (uint32_t)in->settings->config.num_groups;
    gdn_head *head = &y->launch->head;
    int wide = in->settings->config.query_start_loc_dtype == GDN_INT64;
    int bounds = wide ? GDN_FILL_WIDE_BOUNDS : GDN_FILL_BOUNDS;
    gdn_metadata m = { 0 };
    gdn_metadata_set(&m, arena, in->settings, p);
#define SHARED(name, kind, spec) add(y, &m.name, GDN_FILL_##kind, spec, 1, 0)
#define GROUPED(name, kind, spec) add(y, &m.name, GDN_FILL_##kind, spec, groups, arena->group_stride[GDN_FIELD_##name])
    y->blocks = 0;
    memset(head->first_block, 0xff, sizeof head->first_block);
    GROUPED(spec_state_indices_tensor, STATES, GDN_SPEC);
    GROUPED(non_spec_state_indices_tensor, STATES, GDN_NON_SPEC);
    GROUPED(spec_read_state_indices, READS, GDN_SPEC);
    GROUPED(non_spec_read_state_indices, READS, GDN_NON_SPEC);
    add(y, &m.spec_query_start_loc, bounds, GDN_SPEC, 1, 0);
    add(y, &m.non_spec_query_start_loc, bounds, GDN_NON_SPEC, 1, 0);
    SHARED(spec_sequence_masks, MASK, GDN_SPEC);
    SHARED(num_accepted_tokens, ACCEPTED, GDN_SPEC);
    SHARED(spec_conv_shift, SHIFT, GDN_SPEC);
    SHARED(non_spec_conv_shift, SHIFT, GDN_NON_SPEC);
    add(y, &m.spec_token_indx, p->mixed ? GDN_FILL_TOKENS : GDN_FILL_POSITIONS, GDN_SPEC, 1, 0);
    SHARED(non_spec_token_indx, TOKENS, GDN_NON_SPEC);
    SHARED(has_initial_state, INITIAL, GDN_NON_SPEC);
    SHARED(chunk_indices, CHUNKS, GDN_NON_SPEC);
    SHARED(chunk_offsets, CHUNK_STARTS, GDN_NON_SPEC);
    add(y, &m.batch_ptr, GDN_FILL_TILES, GDN_NON_SPEC, 1,
        arena->offset[GDN_FIELD_token_chunk_offset_ptr] - arena->offset[GDN_FIELD_batch_ptr]);
    if (p->has_prefills && p->first_prefill > 0)
        add(y, &m.prefill_query_start_loc, wide ? GDN_FILL_WIDE_PREFILL_BOUNDS : GDN_FILL_PREFILL_BOUNDS, GDN_NON_SPEC, 1, 0);
    SHARED(checkpoint_offsets, KEPT_OFFSETS, GDN_NON_SPEC);
    GROUPED(checkpoint_state_indices, KEPT_STATES, GDN_NON_SPEC);
    SHARED(checkpoint_cu_starts, KEPT_STARTS, GDN_NON_SPEC);
    SHARED(checkpoint_rows, KEPT_ROWS, GDN_NON_SPEC);
#undef SHARED
#undef GROUPED
    y->room = staged_room(head);
}
