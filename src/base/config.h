/* A configuration with its defaults resolved, and what follows from it. */
#ifndef GDN_CONFIG_H
#define GDN_CONFIG_H

#include "base/limits.h"
#include "base/status.h"

typedef struct gdn_settings {
    gdn_config config;      /* no zero left that means "default"; num_slots is NULL, see below */
    int32_t cap;            /* decode_cudagraph_max_bs: rows of a step for a captured graph */
    int32_t threshold;      /* reorder_batch_threshold */
    int32_t row_capacity;   /* rows of every output array: those for captured graphs may be longer than the batch */
    int32_t windowed;       /* a step sees a window of each table row, which moves on with seq_len */
    int32_t window;         /* columns a step sees of a table row: all of them, or that window */
    int32_t has_buckets;    /* full_cuda_graph is GDN_GRAPH_MIXED: every step fills a bucket */
    int32_t has_checkpoints; /* prefills may keep states before their end */
    int32_t takes_checkpoints; /* and rows say where, under strict */
    int32_t drop_eagle_block; /* as it counts: config.drop_eagle_block with S > 0 and without lookahead */
    int32_t num_slots[GDN_MAX_GROUPS];
} gdn_settings;

/* Checks every field and fills *out. */
gdn_status gdn_settings_make(const gdn_config *config, gdn_settings *out, gdn_error *error);

/* Slots of the group that has most. */
int32_t gdn_largest_pool(const gdn_settings *settings);

/* "strict", ..., of GDN_RULES_*. */
const char *gdn_rules_word(int32_t rules);

#endif
