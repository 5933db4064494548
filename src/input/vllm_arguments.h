/* The reference builder's own arguments as a step. */
#ifndef GDN_RAW_H
#define GDN_RAW_H

#include "input/device_inputs.h"

/* Rows made out of raw arrays; allocated once, [max_rows] each. */
typedef struct gdn_raw_rows {
    int32_t *query_len, *seq_len, *num_draft_tokens, *num_accepted_tokens, *prompt_done, *table_row, *read_column;
    gdn_table tables[GDN_MAX_GROUPS];
} gdn_raw_rows;

gdn_status gdn_raw_rows_new(gdn_raw_rows *rows, int32_t max_rows);
void gdn_raw_rows_free(gdn_raw_rows *rows);

/* Checks lengths and copies rows; *out borrows both `rows` and the tables that raw names. What is on the
 * device need not be in raw; `tables` are the builder's. */
gdn_status gdn_raw_step(gdn_raw_rows *rows, const gdn_settings *settings, const gdn_raw *raw, const gdn_resident *resident,
                        const gdn_table *tables, gdn_step *out, gdn_error *error);

/* The same for a capture: drafts and accepted counts follow from the query lengths. */
gdn_status gdn_raw_capture_step(gdn_raw_rows *rows, const gdn_settings *settings, const gdn_raw *raw,
                                const gdn_resident *resident, const gdn_table *tables, gdn_step *out, gdn_error *error);

#endif
