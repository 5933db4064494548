/* What both fills on the CPU write: an output by runs. Buffers have memory after their last element (GDN_ARENA_SLACK),
 * so a short run is written as one whole vector and the next run overwrites what was too much. */
#ifndef GDN_FILL_RUNS_H
#define GDN_FILL_RUNS_H

#include "fill/arena.h"
#include "fill/fill_inputs.h"
#include "fill/output_rules.h"
#include "partition/bucket.h"

#include <string.h>

enum { SHORT_RUN = 4 }; /* elements of a run that is written at one go */

_Static_assert(SHORT_RUN * sizeof(int64_t) <= GDN_ARENA_SLACK,
               "fill/arena.h: GDN_ARENA_SLACK bytes after a buffer hold SHORT_RUN elements");

static inline int32_t *buffer32(const gdn_arena *arena, gdn_field field)
{
    return gdn_arena_first(arena, field);
}

static inline void repeat32(int32_t *out, int32_t value, int32_t from, int32_t to)
{
    for (int32_t i = from; i < to; i++) out[i] = value;
}

static inline void repeat64(int64_t *out, int64_t value, int32_t from, int32_t to)
{
    for (int32_t i = from; i < to; i++) out[i] = value;
}

/* Pads [filled, length) of a buffer that all groups have together where it is not padded yet. */
static inline void pad32(gdn_arena *arena, gdn_field field, int32_t filled, int32_t length, int32_t value)
{
    repeat32(buffer32(arena, field), value, filled, gdn_arena_pad_end(arena, field, filled, length));
}

/* The same of every group's buffer. */
static inline void pad_slots(gdn_arena *arena, gdn_field field, int32_t groups, int32_t filled, int32_t length,
                             int32_t value)
{
    int32_t end = gdn_arena_pad_end(arena, field, filled, length);
    for (int32_t g = 0; g < groups; g++) repeat32(gdn_arena_at(arena, field, g), value, filled, end);
}

/* n rows of `columns` slots of each group, then no row's up to `padded` rows. */
static inline void copy_slots(gdn_arena *arena, const gdn_fill_inputs *in, gdn_field field, size_t slots_at,
                              int32_t n, int32_t padded, int32_t columns)
{
    int32_t groups = in->settings->config.num_groups;
    const int32_t *slots = in->indices->slots + slots_at;
    for (int32_t g = 0; g < groups; g++, slots += in->indices->group_stride)
        memcpy(gdn_arena_at(arena, field, g), slots, (size_t)n * (size_t)columns * sizeof *slots);
    pad_slots(arena, field, groups, n * columns, padded * columns, in->settings->config.pad_slot_id);
}

/* Positions of the class's tokens: each row's are consecutive in the batch. */
static inline void list_tokens(int64_t *out, const gdn_partition *p, const int32_t *rows, const int32_t *start,
                               int32_t n)
{
    for (int32_t k = 0; k < n; k++) {
        int64_t first = p->query_start[rows[k]];
        int64_t *run = out + start[k];
        int32_t length = start[k + 1] - start[k];
        for (int32_t j = 0; j < SHORT_RUN; j++) run[j] = gdn_token_position(first, j);
        for (int32_t j = SHORT_RUN; j < length; j++) run[j] = gdn_token_position(first, j);
    }
}

static inline void fill_conv_shift(gdn_arena *arena, const gdn_step *step, gdn_field field, const int32_t *rows,
                                   int32_t n, int32_t padded)
{
    int32_t *out = buffer32(arena, field);
    for (int32_t k = 0; !rows && k < n; k++)
        out[k] = gdn_conv_shift(step->num_accepted_tokens[k], step->seq_len[k] == step->query_len[k]);
    for (int32_t k = 0; rows && k < n; k++)
        out[k] = gdn_conv_shift(step->num_accepted_tokens[rows[k]], step->seq_len[rows[k]] == step->query_len[rows[k]]);
    pad32(arena, field, n, padded, 0);
}

static inline void fill_accepted(gdn_arena *arena, const gdn_partition *p, const gdn_step *step, int32_t padded)
{
    int32_t n = p->num_spec, *accepted = buffer32(arena, GDN_FIELD_num_accepted_tokens);
    if (!p->spec_rows) memcpy(accepted, step->num_accepted_tokens, (size_t)n * sizeof *accepted);
    for (int32_t k = 0; p->spec_rows && k < n; k++) accepted[k] = step->num_accepted_tokens[p->spec_rows[k]];
    pad32(arena, GDN_FIELD_num_accepted_tokens, n, padded, GDN_PAD_ACCEPTED);
}

static inline void fill_initial_states(gdn_arena *arena, const gdn_partition *p, const gdn_step *step)
{
    uint8_t *out = gdn_arena_first(arena, GDN_FIELD_has_initial_state);
    const int32_t *rows = p->non_spec_rows, *seq_len = step->seq_len, *query_len = step->query_len;
    int32_t n = p->num_non_spec;
    for (int32_t k = 0; !rows && k < n; k++) out[k] = gdn_has_initial_state(seq_len[k], query_len[k]);
    for (int32_t k = 0; rows && k < n; k++)
        out[k] = gdn_has_initial_state(seq_len[rows[k]], query_len[rows[k]]);
}

/* Pairs (ordinal of the row among the non-empty ones, chunk of the row). */
static inline void fill_chunks(gdn_arena *arena, const gdn_partition *p)
{
    int32_t *pairs = buffer32(arena, GDN_FIELD_chunk_indices), rows = p->num_non_spec - p->chunk_row, ordinal = 0;
    int64_t *offsets = gdn_arena_first(arena, GDN_FIELD_chunk_offsets);
    for (int32_t k = 0; k <= rows; k++) offsets[k] = p->chunk_start[k];
    for (int32_t k = 0; k < rows; k++) {
        int32_t n = p->chunk_start[k + 1] - p->chunk_start[k];
        int32_t *run = pairs + 2 * p->chunk_start[k];
        for (int32_t j = 0; j < n; j++) {
            run[2 * j] = ordinal;
            run[2 * j + 1] = j;
        }
        ordinal += n > 0;
    }
}

/* Which rows keep a state, where it goes and, under strict, where it comes from; then nothing up to `padded` rows. */
static inline void fill_kept(gdn_arena *arena, const gdn_fill_inputs *in, int32_t padded)
{
    const gdn_partition *p = in->partition;
    int32_t n = p->num_kept_rows, *offsets = buffer32(arena, GDN_FIELD_checkpoint_offsets);
    memcpy(offsets, p->checkpoint_offset, (size_t)n * sizeof *offsets);
    pad32(arena, GDN_FIELD_checkpoint_offsets, n, padded, 0);
    copy_slots(arena, in, GDN_FIELD_checkpoint_state_indices, in->indices->checkpoint, n, padded, 1);
    if (!in->settings->takes_checkpoints) return;
    int32_t *chunks = buffer32(arena, GDN_FIELD_checkpoint_chunk);
    for (int32_t k = 0; k < n; k++) chunks[k] = gdn_checkpoint_chunk(p->chunk_start[k], p->checkpoint_offset[k]);
    pad32(arena, GDN_FIELD_checkpoint_chunk, n, padded, GDN_NO_CHUNK_STATE);
}

/* conv1d tiles of every non-spec row: (row, tile of the row), then -1 to the end. */
static inline void fill_tiles(gdn_arena *arena, const gdn_partition *p)
{
    int32_t *row = buffer32(arena, GDN_FIELD_batch_ptr), *tile = buffer32(arena, GDN_FIELD_token_chunk_offset_ptr);
    int32_t ones = p->leading_ones < p->num_non_spec ? p->leading_ones : p->num_non_spec;
    for (int32_t k = 0; k < ones; k++) row[k] = k;
    memset(tile, 0, (size_t)ones * sizeof *tile);
    for (int32_t k = ones; k < p->num_non_spec; k++) {
        int32_t at = p->tile_start[k], n = p->tile_start[k + 1] - at;
        for (int32_t j = 0; j < n; j++) row[at + j] = k;
        for (int32_t j = 0; j < n; j++) tile[at + j] = j;
    }
    pad32(arena, GDN_FIELD_batch_ptr, p->tiles, p->tile_length, GDN_NO_TILE);
    pad32(arena, GDN_FIELD_token_chunk_offset_ptr, p->tiles, p->tile_length, GDN_NO_TILE);
}

#endif
