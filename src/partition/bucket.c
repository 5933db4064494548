/* Buckets: one graph for every step. Its branches are for speculative rows, decodes and prefills, so plain decodes next
 * to speculative rows are decodes. */
#include "partition/bucket.h"

static void count_decodes(gdn_partition *p, const gdn_step *step)
{
    int32_t tokens = p->tokens - p->num_spec_decode_tokens, first = 0;
    while (first < p->leading_ones && step->seq_len[p->non_spec_rows[first]] != 1) first++;
    p->num_decodes = p->num_decode_tokens = first;
    p->num_prefills -= first;
    p->num_prefill_tokens = tokens - first;
}

void gdn_bucket_find(gdn_partition *p, const gdn_step *step)
{
    p->bucket_rows = p->num_reqs;
    p->bucket_tokens = p->num_actual_tokens;
    if (!p->speculative) {
        p->spec_start = p->spec_start_buffer; /* which starts with 0 in every step */
    } else if (p->mixed) {
        count_decodes(p, step);
    } else {
        p->num_non_spec = p->leading_ones = p->non_spec_start_buffer[0] = 0;
    }
    int32_t k = p->num_decodes;
    p->prefills_from = p->tokens;
    if (p->num_prefills > 0) p->prefills_from = p->query_start[p->non_spec_rows ? p->non_spec_rows[k] : k];
}
