/* A row of a batch for the programs of the specs, for S = 3 drafts. Its request is known by its row: blocks 4 * row + 1
 * .. 4 * row + 4 are its own. */
#ifndef GDN_PUSH_ROW_H
#define GDN_PUSH_ROW_H

#include "gdnmeta.h"

static inline void push_row(gdn_batch *batch, int32_t query, int32_t computed, int32_t drafts)
{
    int32_t i = batch->num_rows++;
    batch->query_len[i] = query;
    batch->seq_len[i] = computed + query;
    batch->num_draft_tokens[i] = drafts;
    batch->num_accepted_tokens[i] = 1;
    batch->prompt_done[i] = computed > 0 && query <= 4;
    batch->table_row[i] = i;
    batch->read_column[i] = GDN_READ_DEFAULT;
}

#endif
