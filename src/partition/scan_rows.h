/* What the rows tell at a glance, by vectors: sums, and where the first of a kind stands. */
#ifndef GDN_SCAN_ROWS_H
#define GDN_SCAN_ROWS_H

#include "input/step.h"

typedef struct gdn_scan {
    int64_t tokens;
    int32_t length_bits;  /* OR of all query lengths: negative, above one? */
    int32_t has_drafts;   /* some draft count is positive */
    int32_t named;        /* OR of all of them, so complemented that -1 is 0; negative where some is 0 or more */
} gdn_scan;

gdn_scan gdn_scan_rows(const gdn_step *step);

/* First i where (values[i] == 1) is `wanted`, else n. */
int32_t gdn_find_one(const int32_t *values, int32_t n, int wanted);

/* First i where values[i] is negative, else n. */
int32_t gdn_find_negative(const int32_t *values, int32_t n);

/* The OR of all values. */
int32_t gdn_any_bits(const int32_t *values, int32_t n);

/* Does every value lie in [first, last]? *bits: the OR of all. */
int gdn_are_within(const int32_t *values, int32_t n, int32_t first, int32_t last, int32_t *bits);

/* Writes the boundaries of n >= 1 rows as long as the first one, but the last. Returns its length, or -1 where some row
 * has another: then they are wrong. */
int32_t gdn_repeat_length(const int32_t *query_len, int32_t n, int32_t *start);

#endif
