/* Moving a host's rows into region order by swaps that it can repeat on arrays of its own. */
#include "gdnmeta.h"

#include "partition/row_order.h"

int32_t gdn_reorder(int32_t n, int32_t decode_threshold, const int32_t *num_scheduled, const int32_t *num_computed,
                    const int32_t *num_prompt, int32_t *order, int32_t *swaps, int32_t *work)
{
    if (n < 0) return GDN_EINVAL;
    if (!n) return 0;
    if (!num_scheduled || !num_computed || !num_prompt || !order || !swaps || !work) return GDN_EINVAL;
    int32_t *orders = work, *destination = work + n, *misplaced = work + 2 * (int64_t)n;
    int32_t end[GDN_NUM_ROW_ORDERS + 1] = { 0 }, moves = 0, num_swaps = 0;

    for (int32_t i = 0; i < n; i++) {
        orders[i] =
            gdn_row_order(num_scheduled[i], num_computed[i] == 0, num_computed[i] >= num_prompt[i], decode_threshold);
        end[orders[i] + 1]++;
        order[i] = destination[i] = i;
    }
    for (int32_t r = 0; r < GDN_NUM_ROW_ORDERS; r++) end[r + 1] += end[r];

    /* Rows outside their region's span, listed by the region they belong to, then by position ... */
    for (int32_t r = 0; r < GDN_NUM_ROW_ORDERS; r++)
        for (int32_t i = 0; i < n; i++)
            if (orders[i] == r && (i < end[r] || i >= end[r + 1])) misplaced[moves++] = i;
    /* ... go to the misplaced positions in ascending order. */
    for (int32_t i = 0, k = 0; i < n && k < moves; i++)
        if (i < end[orders[i]] || i >= end[orders[i] + 1]) destination[misplaced[k++]] = i;

    for (int32_t k = 0; k < moves; k++) {
        int32_t from = misplaced[k], to = destination[from];
        while (to != from) {
            int32_t row = order[from], next = destination[to];
            order[from] = order[to];
            order[to] = row;
            swaps[2 * num_swaps] = from;
            swaps[2 * num_swaps + 1] = to;
            num_swaps++;
            destination[to] = to;
            to = next;
        }
        destination[from] = from;
    }
    return num_swaps;
}
