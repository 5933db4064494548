/* What follows from the numbers of one row alone. Compiles as C and as CUDA. */
#ifndef GDN_ROW_RULES_H
#define GDN_ROW_RULES_H

#include "base/rule.h"

enum { GDN_NULL_SLOT = 0 };

/* `align`: the column of the state that this step writes, where the row's window starts. */
GDN_RULE int32_t gdn_window_start(int32_t seq_len, int32_t block_size)
{
    return seq_len > 0 ? (seq_len - 1) / block_size : 0;
}

/* Tokens computed before the step; negative for inconsistent rows, which the vLLM rule sets accept. */
GDN_RULE int64_t gdn_computed(int32_t seq_len, int32_t query_len)
{
    return (int64_t)seq_len - query_len;
}

GDN_RULE uint8_t gdn_has_initial_state(int32_t seq_len, int32_t query_len)
{
    return seq_len > query_len;
}

/* Chunks or tiles of `size` tokens that a row takes. Rounding up by adding size - 1 would wrap near 2^31. */
GDN_RULE int32_t gdn_pieces(int32_t length, int32_t size)
{
    return length / size + (length % size != 0);
}

#endif
