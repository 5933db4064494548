/* Loops without branches, so that vectors run them. */
#include "partition/scan_rows.h"

#include "base/simd_range.h"

/* The sum of 65,536 rows cannot wrap where no length has more than 16 bits. */
GDN_WIDE static void scan_short_rows(const int32_t *query_len, const int32_t *drafts, int32_t n, gdn_scan *out)
{
    uint32_t tokens = 0;
    int32_t bits = 0, positive = 0, named = 0;
    for (int32_t i = 0; i < n; i++) {
        tokens += (uint32_t)query_len[i];
        bits |= query_len[i];
        positive |= -(drafts[i] > 0);
        named |= ~drafts[i];
    }
    *out = (gdn_scan){ .tokens = tokens, .length_bits = bits, .has_drafts = positive, .named = named };
}

gdn_scan gdn_scan_rows(const gdn_step *step)
{
    gdn_scan seen;
    scan_short_rows(step->query_len, step->num_draft_tokens, step->rows, &seen);
    if (!(seen.length_bits & ~0xffff)) return seen;
    seen.tokens = 0;
    for (int32_t i = 0; i < step->rows; i++) seen.tokens += (uint32_t)step->query_len[i];
    return seen;
}

/* Values in front of the first block in which (value == 1) is `wanted` somewhere. */
static inline int32_t skip_blocks(const int32_t *values, int32_t n, int wanted, int32_t block)
{
    int32_t i = 0;
    for (; i + block <= n; i += block) {
        int32_t ones = 0;
        for (int32_t j = 0; j < block; j++) ones += values[i + j] == 1;
        if (ones != (wanted ? 0 : block)) break;
    }
    return i;
}

static inline int32_t skip_far(const int32_t *values, int32_t n, int wanted)
{
    int32_t i = skip_blocks(values, n, wanted, 64);
    return i + skip_blocks(values + i, n - i, wanted, 8);
}

GDN_WIDE static int32_t find_one(const int32_t *values, int32_t n, int wanted)
{
    int32_t i = skip_far(values, n, wanted);
    while (i < n && (values[i] == 1) != wanted) i++;
    return i;
}

int32_t gdn_find_one(const int32_t *values, int32_t n, int wanted)
{
    return find_one(values, n, wanted);
}

/* Values in front of the first block in which one is negative. */
static inline int32_t skip_unsigned(const int32_t *values, int32_t n)
{
    enum { BLOCK = 64 };
    int32_t i = 0;
    for (; i + BLOCK <= n; i += BLOCK) {
        int32_t signs = 0;
        for (int32_t j = 0; j < BLOCK; j++) signs |= values[i + j];
        if (signs < 0) break;
    }
    return i;
}

GDN_WIDE static int32_t find_negative(const int32_t *values, int32_t n)
{
    int32_t i = skip_unsigned(values, n);
    while (i < n && values[i] >= 0) i++;
    return i;
}

int32_t gdn_find_negative(const int32_t *values, int32_t n)
{
    return find_negative(values, n);
}

GDN_WIDE static int32_t any_bits(const int32_t *values, int32_t n)
{
    int32_t bits = 0;
    for (int32_t i = 0; i < n; i++) bits |= values[i];
    return bits;
}

int32_t gdn_any_bits(const int32_t *values, int32_t n)
{
    return any_bits(values, n);
}

GDN_WIDE static int are_within(const int32_t *values, int32_t n, int32_t first, int32_t last, int32_t *bits)
{
    int32_t outside = 0, all = 0;
    for (int32_t i = 0; i < n; i++) {
        outside |= -(values[i] > last) | -(values[i] < first);
        all |= values[i];
    }
    *bits = all;
    return !outside;
}

int gdn_are_within(const int32_t *values, int32_t n, int32_t first, int32_t last, int32_t *bits)
{
    return are_within(values, n, first, last, bits);
}

GDN_WIDE static int32_t repeat_length(const int32_t *query_len, int32_t n, int32_t *start)
{
    int32_t first = query_len[0], differ = 0;
    uint32_t step = (uint32_t)first;
    for (int32_t i = 0; i < n; i++) {
        differ |= query_len[i] ^ first;
        start[i] = (int32_t)((uint32_t)i * step);
    }
    return differ ? -1 : first;
}

int32_t gdn_repeat_length(const int32_t *query_len, int32_t n, int32_t *start)
{
    return repeat_length(query_len, n, start);
}
