/* What each output element is: plain functions of values, used by the CPU's loops over runs and by
 * the device's threads over elements, so that every rule is stated once.
 *
 * A run is one row's share of an array; j counts within the run. */
#ifndef GDN_OUTPUT_RULES_H
#define GDN_OUTPUT_RULES_H

#include "base/fields.h"
#include "partition/row_rules.h"

/* Padding, and what stands for "none". */
enum { GDN_PAD_ACCEPTED = 1, GDN_NO_TILE = -1, GDN_NO_CHUNK_STATE = -1 };

/* The boundary that element e of a class's *_query_start_loc or chunk_offsets is: the class starts at `first` of `last`
 * + 1 boundaries, and padding repeats the last. */
GDN_RULE int32_t gdn_bound_at(int32_t e, int32_t first, int32_t last)
{
    return e < last - first ? first + e : last;
}

/* Buckets: the class of the token at `at` of the batch's `tokens`. Prefills come after all other non-spec rows. */
GDN_RULE uint8_t gdn_token_class(int64_t at, int64_t tokens, int32_t is_spec, int64_t prefills_from)
{
    if (at >= tokens) return GDN_TOKEN_PADDING;
    return is_spec ? GDN_TOKEN_SPEC : at < prefills_from ? GDN_TOKEN_DECODE : GDN_TOKEN_PREFILL;
}

/* Buckets: what lists and pairs name where there is no token or chunk. */
GDN_RULE int64_t gdn_no_token(int64_t bucket_tokens)
{
    return bucket_tokens;
}

GDN_RULE int32_t gdn_no_chunk(int32_t bucket_rows, int32_t second)
{
    return second ? 0 : bucket_rows;
}

/* Position in the batch of token j of a row that starts at row_start. */
GDN_RULE int64_t gdn_token_position(int64_t row_start, int64_t j)
{
    return row_start + j;
}

/* Tokens that the conv window must move on before this step: what the last one accepted beyond one. */
GDN_RULE int32_t gdn_conv_shift(int32_t num_accepted_tokens, int32_t fresh)
{
    return fresh ? 0 : num_accepted_tokens - 1;
}

/* Which of the kept states is that of a row whose prefill keeps the first at `start`, one every `every` tokens. */
GDN_RULE int64_t gdn_checkpoint_row(int32_t start, int32_t offset, int32_t every)
{
    return offset ? (int64_t)start + offset / every - 1 : 0;
}

/* Chunk that a checkpoint's state enters, of a row whose first one is `start`. */
GDN_RULE int32_t gdn_checkpoint_chunk(int32_t start, int32_t offset)
{
    return offset && offset % GDN_CHUNK == 0 ? start + offset / GDN_CHUNK : GDN_NO_CHUNK_STATE;
}

#endif
