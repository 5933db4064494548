/* What each output element is: plain functions of values, used by the CPU's loops over runs and by
 * the device's threads over elements, so that every rule is stated once.
 *
 * A run is one row's share of an array; j counts within the run. */
#ifndef GDN_OUTPUT_RULES_H
#define GDN_OUTPUT_RULES_H

#include "partition/row_rules.h"

/* Padding, and what stands for "none". */
enum { GDN_PAD_ACCEPTED = 1, GDN_NO_TILE = -1 };

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

#endif
