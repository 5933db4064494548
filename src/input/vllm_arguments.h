/* The arguments of vLLM's builder as a step. */
#ifndef GDN_VLLM_ARGUMENTS_H
#define GDN_VLLM_ARGUMENTS_H

#include "input/device_inputs.h"

/* Rows made out of raw arrays; allocated once, [max_rows] each. */
typedef struct gdn_vllm_rows {
    int32_t *query_len, *seq_len, *num_draft_tokens, *num_accepted_tokens, *prompt_done, *table_row, *read_column;
    gdn_table tables[GDN_MAX_GROUPS];
} gdn_vllm_rows;

gdn_status gdn_vllm_rows_new(gdn_vllm_rows *rows, int32_t max_rows);
void gdn_vllm_rows_free(gdn_vllm_rows *rows);

/* Checks lengths and copies rows; *out borrows both `rows` and the tables that raw names. What is on the
 * device need not be in raw; `tables` are the builder's. */
gdn_status gdn_vllm_step(gdn_vllm_rows *rows, const gdn_settings *settings, const gdn_raw *raw,
                         const gdn_device_inputs *device_inputs, const gdn_table *tables, gdn_step *out,
                         gdn_error *error);

/* The same for a capture: drafts and accepted counts follow from the query lengths. */
gdn_status gdn_vllm_capture_step(gdn_vllm_rows *rows, const gdn_settings *settings, const gdn_raw *raw,
                                 const gdn_device_inputs *device_inputs, const gdn_table *tables, gdn_step *out,
                                 gdn_error *error);

#endif
