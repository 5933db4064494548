/* What one look at the rows tells: who is what, how many, and where everything starts. After it every output
 * element is a function of (partition, step, its index). */
#ifndef GDN_PARTITION_H
#define GDN_PARTITION_H

#include "input/step.h"

/* Positions are in tokens of the batch; starts count tokens of the row's class. */
typedef struct gdn_partition {
    /* work arrays, allocated once, [max_rows + 1] each; read them through the pointers below */
    int32_t *all_start, *spec_start_buffer, *non_spec_start_buffer;
    int32_t *spec_rows_buffer, *non_spec_rows_buffer, *chunk_start, *tile_start;

    int32_t rows;                   /* rows described: R, or under strict the real rows */
    int32_t tokens;                 /* sum of query_len */
    int32_t speculative;            /* some row names its drafts (vllm until 2026-08: has some): two classes of rows */
    int32_t any_drafts_given;           /* some num_draft_tokens is not -1 */
    int32_t mixed;                  /* speculative, and non-spec rows have tokens */
    int32_t num_spec, num_non_spec; /* rows of either class */
    const int32_t *query_start;     /* [rows + 1] */
    const int32_t *spec_start;      /* [num_spec + 1] */
    const int32_t *non_spec_start;  /* [num_non_spec + 1] */
    const int32_t *spec_rows;       /* [num_spec] row numbers, NULL: 0, 1, 2 ... */
    const int32_t *non_spec_rows;   /* [num_non_spec] likewise */
    int32_t leading_ones;           /* non-spec rows of exactly one token in front of all others */

    /* the scalars of the metadata */
    int32_t num_prefills, num_prefill_tokens, num_decodes, num_decode_tokens, num_spec_decodes, num_spec_decode_tokens;
    int32_t num_actual_tokens, num_reqs;

    int32_t for_graph;              /* a captured graph may read this step: pad its rows */
    int32_t padded_rows;            /* b: rows of an array for a captured graph */
    int32_t padded_bounds;          /* its boundaries: b + 1 */
    int32_t state_columns;          /* columns of spec_state_indices_tensor */
    int32_t repeat_column;          /* a table one column wide, for_graph: vLLM repeats it */
    int32_t listed_tokens;          /* length of spec_token_indx: a purely spec step lists S + 1 a row at most */

    /* full_cuda_graph = mixed: the outputs have the lengths of a bucket */
    int32_t has_bucket, bucket_rows, bucket_tokens;
    int32_t prefills_from;          /* token of the batch that the first prefill starts at; without one, tokens */

    int32_t has_prefills;           /* the launch tables below exist */
    int32_t first_prefill;          /* first non-spec row of the prefill_* outputs */
    int32_t chunk_row;              /* first non-spec row that the chunk tables number */
    int32_t tile_length;            /* of the conv1d tables, their padding included */
    int32_t launched_tiles;         /* that a launch covers */
    int32_t chunks, tiles;          /* chunk_start[k]: first chunk of row chunk_row + k; tile_start[k]: of row k */
    int32_t uniform_spec_length;    /* tokens of every spec row, 0: they differ */

    /* Prefills that keep a state before their end. Allocated where settings allow any, [max_rows + 1] each */
    int32_t *checkpoint_offset;     /* [num_kept_rows] of the non-spec rows from first_kept on; 0: none */
    int32_t *checkpoint_column;     /* likewise */
    int32_t *checkpoint_start;      /* [prefill rows + 1] states kept of the rows in front, where there is a plan */
    int32_t checkpoints_asked;      /* strict: some row names one, be it legal or not */
    int32_t has_checkpoints, num_kept_rows;
    int32_t first_kept;             /* first non-spec row of the checkpoint_* outputs */
    int32_t checkpoint_every;       /* 0: no plan */
    int32_t num_checkpoints;
} gdn_partition;

gdn_status gdn_partition_new(gdn_partition *p, const gdn_settings *settings);
void gdn_partition_free(gdn_partition *p);

/* Fills *p from the step, or refuses. Table reads are the next stage's: state_indices.h. */
gdn_status gdn_partition_make(gdn_partition *p, const gdn_settings *settings, const gdn_step *step, gdn_error *error);

#endif
