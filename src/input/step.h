/* One step's inputs in one form, from a batch or from vLLM's arguments. */
#ifndef GDN_STEP_H
#define GDN_STEP_H

#include "base/config.h"

/* A cache group's state table: which slots hold a request's state. */
typedef struct gdn_table {
    const int32_t *data; /* [rows, stride], the first cols of a row in use */
    int64_t stride;
    int32_t rows, cols;
    int32_t on_device; /* device memory, which the host never reads */
} gdn_table;

enum { GDN_INDEX_GIVEN = -2 }; /* accepted_index: the row's num_accepted_tokens as the host gave it */

/* Borrowed for one build. Row arrays are [rows]. */
typedef struct gdn_step {
    const int32_t *query_len, *seq_len, *num_draft_tokens, *num_accepted_tokens, *prompt_done;
    const int32_t *table_row;   /* >= 0: row of `tables`; ~k: row k of `own` */
    const int32_t *read_column;
    const int32_t *checkpoint_len;  /* strict: see gdn_batch; NULL: no row has one */
    const int32_t *checkpoint_slot; /* [num_groups, max_rows] */
    const gdn_table *tables;    /* [num_groups] */
    const gdn_table *own;       /* [num_groups] a batch's own rows; unused by raw steps */
    /* Device memory, or NULL: then the host's arrays above hold the values, and not stand-ins for them. */
    const int32_t *device_seq_lens, *device_accepted;
    const int32_t *seq_index, *accepted_index; /* elements of those; -1, or NULL: the row's number */
    const int32_t *given_accepted; /* of the host, for rows whose accepted_index is GDN_INDEX_GIVEN */
    int32_t rows;               /* padding included */
    int32_t table_rows;         /* rows from here on are padding that the build made: null blocks */
    int32_t num_reqs;
    int32_t num_actual_tokens;  /* -1: the sum of query_len */
    int32_t max_query_len;      /* -1: the largest query_len; strict does not read it */
    int32_t from_batch;         /* num_actual_tokens can only be padding: never below the sum */
    int32_t accepted_rows;      /* rows that num_accepted_tokens was given for */
    int32_t null_slots;         /* a strict capture: every slot is null, no row is fresh */
} gdn_step;

#endif
