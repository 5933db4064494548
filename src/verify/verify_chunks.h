/* The launch tables of steps with prefills, by induction: each entry follows from the one before it and the
 * boundaries. Compiles as C and as CUDA. */
#ifndef GDN_VERIFY_CHUNKS_H
#define GDN_VERIFY_CHUNKS_H

#include "verify/verify_rows.h"

GDN_RULE int32_t gdn_verify_chunk_start(const gdn_verify_input *c, int64_t i)
{
    const gdn_verify_tensor *t = &c->fields[GDN_FIELD_chunk_offsets];
    int64_t at = GDN_AT(chunk_offsets, i), chunks = c->fields[GDN_FIELD_chunk_indices].elements / 2;
    if (i == 0) return at == 0 ? 0 : GDN_CHECK_CHUNKS;
    uint64_t here = (uint64_t)at - (uint64_t)GDN_AT(chunk_offsets, i - 1);
    if (here != (uint64_t)gdn_parts(gdn_tokens_of(c, c->chunk_boundaries, i - 1), GDN_CHUNK)) return GDN_CHECK_CHUNKS;
    return !c->has_bucket && i + 1 == t->elements && at != chunks ? GDN_CHECK_CHUNKS : 0;
}

/* The row whose chunks contain chunk i, if chunk_offsets rise. */
GDN_RULE int64_t gdn_chunk_row(const gdn_verify_input *c, int64_t i)
{
    int64_t low = 0, high = (int64_t)c->fields[GDN_FIELD_chunk_offsets].elements - 1;
    while (high - low > 1) {
        int64_t middle = (low + high) / 2;
        if (GDN_AT(chunk_offsets, middle) <= i) low = middle;
        else high = middle;
    }
    return low;
}

/* Pairs (row among those with chunks, chunk of the row): the first counts on where the second is 0. */
GDN_RULE int32_t gdn_verify_chunk(const gdn_verify_input *c, int64_t i)
{
    int64_t at = GDN_AT(chunk_indices, i), chunk = i / 2;
    if (i % 2) return chunk == gdn_plus(at, GDN_AT(chunk_offsets, gdn_chunk_row(c, chunk))) ? 0 : GDN_CHECK_CHUNKS;
    int64_t before = chunk ? GDN_AT(chunk_indices, i - 2) : -1, starts = GDN_AT(chunk_indices, i + 1) == 0;
    return at == before + starts && (chunk || starts) ? 0 : GDN_CHECK_CHUNKS;
}

/* Are rows `from` .. `to` - 1 empty? */
GDN_RULE int32_t gdn_no_tokens(const gdn_verify_input *c, int64_t from, int64_t to)
{
    int64_t a = GDN_AT(non_spec_query_start_loc, from), b = GDN_AT(non_spec_query_start_loc, to);
    return a == b && a != INT64_MIN;
}

GDN_RULE int64_t gdn_tiles_of(const gdn_verify_input *c, int64_t row)
{
    int64_t tokens = gdn_tokens_of(c, GDN_FIELD_non_spec_query_start_loc, row);
    return tokens == INT64_MAX ? 0 : gdn_parts(tokens, GDN_TILE);
}

/* Both conv1d tables at once: tile i belongs to a row that has it, goes on where tile i - 1 ended, and the last
 * one ends the last row. The first half of a table longer than the shortest is tiles and nothing else. */
GDN_RULE int32_t gdn_verify_tile(const gdn_verify_input *c, int64_t i)
{
    int64_t rows = c->rows[GDN_VERIFY_NON_SPEC].real, half = c->fields[GDN_FIELD_batch_ptr].elements / 2;
    int64_t row = GDN_AT(batch_ptr, i), tile = GDN_AT(token_chunk_offset_ptr, i);
    int64_t last_row = GDN_AT(batch_ptr, i - 1), last_tile = GDN_AT(token_chunk_offset_ptr, i - 1);
    if (row == -1) {
        int32_t ends = i ? 1 : gdn_no_tokens(c, 0, rows);
        return tile == -1 && ends && (i >= half || half == GDN_MIN_TILES || c->has_bucket) ? 0 : GDN_CHECK_TILES;
    }
    if (tile < 0 || tile >= gdn_tiles_of(c, row)) return GDN_CHECK_TILES; /* 0 where there is no such row */
    if (i == 0 && (tile != 0 || !gdn_no_tokens(c, 0, row))) return GDN_CHECK_TILES;
    if (i > 0 && last_row == row && tile != last_tile + 1) return GDN_CHECK_TILES;
    if (i > 0 && last_row != row) {
        if (tile != 0 || last_row < 0 || last_row > row) return GDN_CHECK_TILES;
        if (last_tile + 1 != gdn_tiles_of(c, last_row) || !gdn_no_tokens(c, last_row + 1, row)) return GDN_CHECK_TILES;
    }
    int32_t last = GDN_AT(batch_ptr, i + 1) == -1;
    return last && (tile + 1 != gdn_tiles_of(c, row) || !gdn_no_tokens(c, row + 1, rows)) ? GDN_CHECK_TILES : 0;
}

/* The prefills alone repeat what all non-spec rows have, without the decodes in front. */
GDN_RULE int32_t gdn_verify_prefills(const gdn_verify_input *c, uint32_t field, uint32_t whole, uint32_t group,
                                     int64_t i, int64_t less)
{
    return gdn_plus(gdn_at(c, field, group, i), less) == gdn_at(c, whole, group, c->first_prefill + i) ? 0
                                                                                                       : GDN_CHECK_TAIL;
}

#endif
