/* A step in a bucket: what full_cuda_graph = mixed makes of the classes, and the sizes that follow from the bucket. */
#ifndef GDN_PARTITION_BUCKET_H
#define GDN_PARTITION_BUCKET_H

#include "base/fields.h"
#include "partition/partition.h"
#include "partition/row_rules.h"

/* conv1d tiles and chunks that a bucket's launches cover: each row adds at most one that is filled in part. */
static inline int32_t gdn_bucket_tiles(int32_t rows, int32_t tokens)
{
    return gdn_pieces(tokens, GDN_TILE) + rows;
}

static inline int32_t gdn_bucket_chunks(int32_t rows, int32_t tokens)
{
    return gdn_pieces(tokens, GDN_CHUNK) + rows;
}

/* The elements of live_counts. */
static inline void gdn_live_counts(const gdn_partition *p, int32_t out[GDN_LIVE_COUNTS])
{
    const int32_t counts[GDN_LIVE_COUNTS] = { p->num_prefills,       p->num_prefill_tokens, p->num_decodes,
                                              p->num_decode_tokens,  p->num_spec_decodes,   p->num_spec_decode_tokens,
                                              p->num_actual_tokens,  p->rows };
    for (int i = 0; i < GDN_LIVE_COUNTS; i++) out[i] = counts[i];
}

/* Finds the bucket of classified rows, tells the decodes among speculative rows from prefills, and gives a class
 * without rows its one boundary. */
void gdn_bucket_find(gdn_partition *p, const gdn_step *step);

#endif
