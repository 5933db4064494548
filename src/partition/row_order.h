/* The order of rows that a host keeps and a strict build wants. */
#ifndef GDN_ROW_ORDER_H
#define GDN_ROW_ORDER_H

#include <stdint.h>

enum { GDN_DECODE = 0, GDN_SHORT_EXTEND = 1, GDN_LONG_EXTEND = 2, GDN_FIRST_CHUNK = 3, GDN_NUM_ROW_ORDERS = 4 };

static inline int32_t gdn_row_order(int32_t query_len, int32_t fresh, int32_t prompt_done, int32_t threshold)
{
    int32_t known = query_len > threshold ? GDN_LONG_EXTEND : prompt_done ? GDN_DECODE : GDN_SHORT_EXTEND;
    return fresh ? GDN_FIRST_CHUNK : known;
}

#endif
