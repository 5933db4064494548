/* Raw arrays checked for length and copied into rows, so that one path builds batches and raw steps. */
#include "input/vllm_arguments.h"

#include <stdlib.h>
#include <string.h>

gdn_status gdn_vllm_rows_new(gdn_vllm_rows *rows, int32_t max_rows)
{
    int32_t **arrays[] = { &rows->query_len,           &rows->seq_len,     &rows->num_draft_tokens,
                           &rows->num_accepted_tokens, &rows->prompt_done, &rows->table_row,
                           &rows->read_column };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        if (!(*arrays[i] = calloc((size_t)max_rows, sizeof(int32_t)))) return GDN_ENOMEM;
    for (int32_t i = 0; i < max_rows; i++) rows->table_row[i] = i;
    return GDN_OK;
}

void gdn_vllm_rows_free(gdn_vllm_rows *rows)
{
    free(rows->query_len);
    free(rows->seq_len);
    free(rows->num_draft_tokens);
    free(rows->num_accepted_tokens);
    free(rows->prompt_done);
    free(rows->table_row);
    free(rows->read_column);
}

static void repeat(int32_t *out, int32_t value, int32_t n)
{
    for (int32_t i = 0; i < n; i++) out[i] = value;
}

static gdn_status check_sizes(const gdn_settings *settings, const gdn_raw *raw, gdn_error *error)
{
    const gdn_config *c = &settings->config;
    if (raw->size != sizeof *raw) GDN_REFUSE(error, "raw.size = %u, want %zu", raw->size, sizeof *raw);
    if (raw->num_query_start_loc < 1 || !raw->query_start_loc)
        GDN_REFUSE(error, "query_start_loc has %d elements, want >= 1", raw->num_query_start_loc);
    if (raw->num_query_start_loc - 1 > c->max_rows)
        GDN_FAIL(error, GDN_ECAP, "query_start_loc has %d rows, want 0 .. %d (max_rows)", raw->num_query_start_loc - 1,
                 c->max_rows);
    if (raw->num_reqs < 0 || raw->num_reqs > c->max_rows)
        GDN_FAIL(error, GDN_ECAP, "num_reqs = %d, want 0 .. %d (max_rows)", raw->num_reqs, c->max_rows);
    if (raw->num_actual_tokens < 0) GDN_REFUSE(error, "num_actual_tokens = %d, want >= 0", raw->num_actual_tokens);
    if (c->rules == GDN_RULES_STRICT && raw->num_reqs != raw->num_query_start_loc - 1)
        GDN_REFUSE(error, "num_reqs = %d, want %d, the rows of query_start_loc", raw->num_reqs,
               raw->num_query_start_loc - 1);
    return GDN_OK;
}

static gdn_status copy_query_lens(gdn_vllm_rows *rows, const gdn_raw *raw, gdn_error *error)
{
    const int32_t *start = raw->query_start_loc;
    if (start[0] != 0) GDN_REFUSE(error, "query_start_loc[0] = %d, want 0", start[0]);
    for (int32_t i = 0; i < raw->num_query_start_loc - 1; i++) {
        if (start[i + 1] < start[i])
            GDN_REFUSE(error, "query_start_loc[%d] = %d, want >= %d (the row before it)", i + 1, start[i + 1],
                       start[i]);
        rows->query_len[i] = start[i + 1] - start[i];
    }
    return GDN_OK;
}

static gdn_status copy_seq_lens(gdn_vllm_rows *rows, const gdn_raw *raw, const gdn_device_inputs *device_inputs,
                                int32_t n, gdn_error *error)
{
    if (device_inputs->seq_lens) {
        for (int32_t i = 0; i < n; i++)
            rows->seq_len[i] = gdn_stand_in_seq_len(rows->query_len[i], raw->read_column ? raw->read_column[i] : 0);
        return GDN_OK;
    }
    if (raw->num_seq_lens != n || (n && !raw->seq_lens))
        GDN_REFUSE(error, "seq_lens has %d elements, want %d (rows)", raw->seq_lens ? raw->num_seq_lens : 0, n);
    if (n) memcpy(rows->seq_len, raw->seq_lens, (size_t)n * sizeof *rows->seq_len);
    return GDN_OK;
}

/* The tables that raw names, but for the groups whose table is on the device. */
static gdn_status borrow_tables(gdn_vllm_rows *rows, const gdn_settings *settings, const gdn_raw *raw,
                                const gdn_device_inputs *device_inputs, const gdn_table *tables, int32_t n,
                                gdn_error *error)
{
    const gdn_config *c = &settings->config;
    memcpy(rows->tables, tables, (size_t)c->num_groups * sizeof *tables);
    if (device_inputs->tables == c->num_groups) return GDN_OK;
    if (device_inputs->tables && raw->block_table_cols != c->max_blocks_per_row)
        GDN_REFUSE(error, "block_table has %d columns, want %d (max_blocks_per_row) with tables on the device",
               raw->block_table_cols, c->max_blocks_per_row);
    int32_t least = c->rules == GDN_RULES_STRICT ? settings->window : 1;
    if (raw->block_table_rows != n) GDN_REFUSE(error, "block_table has %d rows, want %d", raw->block_table_rows, n);
    if (raw->block_table_cols < least)
        GDN_REFUSE(error, "block_table has %d columns, want >= %d", raw->block_table_cols, least);
    if (raw->block_table_stride < raw->block_table_cols)
        GDN_REFUSE(error, "block_table_stride = %lld, want >= %d (columns)", (long long)raw->block_table_stride,
               raw->block_table_cols);
    for (int32_t g = 0; g < c->num_groups; g++) {
        if (tables[g].on_device) continue;
        const int32_t *data = raw->block_tables ? raw->block_tables[g] : NULL;
        if (n && !data) GDN_REFUSE(error, "block_table of group %d is missing", g);
        rows->tables[g] = (gdn_table){ data, raw->block_table_stride, n, raw->block_table_cols, 0 };
    }
    return GDN_OK;
}

/* Does some row that is not speculative have tokens? */
static int has_plain_tokens(const gdn_vllm_rows *rows, const int32_t *drafts, int32_t n)
{
    int32_t tokens = 0;
    for (int32_t i = 0; i < n; i++) tokens |= drafts[i] < 0 ? rows->query_len[i] : 0;
    return tokens != 0;
}

/* `given` counts for n rows: a single one stands for all of them, as in vllm-2026-11's purely speculative steps. */
static void copy_accepted(gdn_vllm_rows *rows, const int32_t *accepted, int32_t given, int32_t n)
{
    if (given == 1) repeat(rows->num_accepted_tokens, accepted[0], n);
    else memcpy(rows->num_accepted_tokens, accepted, (size_t)(given < n ? given : n) * sizeof *accepted);
}

/* Under the vLLM rule sets, drafts and accepted counts are looked at only where a draft is scheduled. */
static gdn_status copy_drafts(gdn_vllm_rows *rows, const gdn_settings *settings, const gdn_raw *raw,
                              const gdn_device_inputs *device_inputs, int32_t n, gdn_error *error)
{
    const int32_t *drafts = raw->num_decode_draft_tokens,
                  *accepted = device_inputs->accepted ? NULL : raw->num_accepted_tokens;
    int strict = settings->config.rules == GDN_RULES_STRICT, speculative = 0, exact;
    int is_2026_11 = settings->config.rules == GDN_RULES_VLLM_2026_11, by_name = is_2026_11 || strict;
    for (int32_t i = 0; drafts && i < raw->num_num_decode_draft_tokens; i++) speculative |= drafts[i] >= !by_name;
    if (settings->config.num_speculative_tokens == 0) speculative = 0;

    repeat(rows->num_draft_tokens, -1, n);
    repeat(rows->num_accepted_tokens, 1, n);
    if ((speculative || strict) && drafts && raw->num_num_decode_draft_tokens != n)
        GDN_REFUSE(error, "num_decode_draft_tokens has %d elements, want %d (rows)", raw->num_num_decode_draft_tokens,
                   n);
    if (speculative && !accepted && !device_inputs->accepted)
        GDN_REFUSE(error, "num_accepted_tokens is missing, want %d elements: drafts are scheduled", n);
    if (speculative && is_2026_11) exact = has_plain_tokens(rows, drafts, n);
    else exact = speculative || strict;
    if (exact && accepted && raw->num_num_accepted_tokens != n)
        GDN_REFUSE(error, "num_accepted_tokens has %d elements, want %d (rows)", raw->num_num_accepted_tokens, n);
    if (accepted && raw->num_num_accepted_tokens < 0)
        GDN_REFUSE(error, "num_accepted_tokens has %d elements, want >= 0", raw->num_num_accepted_tokens);
    if ((speculative || strict) && drafts && n) memcpy(rows->num_draft_tokens, drafts, (size_t)n * sizeof *drafts);
    if ((speculative || strict) && accepted) copy_accepted(rows, accepted, raw->num_num_accepted_tokens, n);
    return GDN_OK;
}

/* Left out, the prompt of every row that could be a decode counts as done. */
static void copy_strict_fields(gdn_vllm_rows *rows, const gdn_settings *settings, const gdn_raw *raw, int32_t n)
{
    if (raw->read_column && n)
        memcpy(rows->read_column, raw->read_column, (size_t)n * sizeof *rows->read_column);
    else
        repeat(rows->read_column, GDN_READ_DEFAULT, n);
    int known = settings->config.rules == GDN_RULES_VLLM_2026_11; /* upstream takes no row for a fresh one then */
    for (int32_t i = 0; i < n; i++)
        rows->prompt_done[i] = raw->prompt_done ? raw->prompt_done[i]
                               : known
                                   ? 1
                                   : rows->seq_len[i] > rows->query_len[i] && rows->query_len[i] <= settings->threshold;
}

static gdn_step describe(const gdn_vllm_rows *rows, const gdn_raw *raw, int32_t n, int32_t accepted_rows)
{
    return (gdn_step){ .query_len = rows->query_len,
                       .seq_len = rows->seq_len,
                       .num_draft_tokens = rows->num_draft_tokens,
                       .num_accepted_tokens = rows->num_accepted_tokens,
                       .prompt_done = rows->prompt_done,
                       .table_row = rows->table_row,
                       .read_column = rows->read_column,
                       .tables = rows->tables,
                       .rows = n,
                       .table_rows = n,
                       .accepted_rows = accepted_rows,
                       .num_reqs = raw->num_reqs,
                       .num_actual_tokens = raw->num_actual_tokens,
                       .max_query_len = raw->max_query_len > 0 ? raw->max_query_len : 0, /* -1 would mean: find it */
                       .seq_index = raw->seq_index,
                       .accepted_index = raw->accepted_index };
}

gdn_status gdn_vllm_step(gdn_vllm_rows *rows, const gdn_settings *settings, const gdn_raw *raw,
                         const gdn_device_inputs *device_inputs, const gdn_table *tables, gdn_step *out,
                         gdn_error *error)
{
    gdn_status status = check_sizes(settings, raw, error);
    int32_t n = status ? 0 : raw->num_query_start_loc - 1;
    if (!status) status = copy_query_lens(rows, raw, error);
    if (!status) status = copy_seq_lens(rows, raw, device_inputs, n, error);
    if (!status) status = borrow_tables(rows, settings, raw, device_inputs, tables, n, error);
    if (!status) status = copy_drafts(rows, settings, raw, device_inputs, n, error);
    if (status) return status;
    copy_strict_fields(rows, settings, raw, n);
    int counted = raw->num_accepted_tokens && !device_inputs->accepted;
    *out = describe(rows, raw, n, counted ? raw->num_num_accepted_tokens : n);
    return GDN_OK;
}

static gdn_status check_capture_size(const gdn_settings *settings, const gdn_raw *raw, gdn_error *error)
{
    if (raw->num_reqs > settings->cap || raw->num_actual_tokens > settings->cap)
        GDN_FAIL(error, GDN_ECAP,
                 "capture of num_reqs = %d, num_actual_tokens = %d, want both <= %d (decode_cudagraph_max_bs)",
                 raw->num_reqs, raw->num_actual_tokens, settings->cap);
    return GDN_OK;
}

/* strict: a capture must not touch anyone's state, nor record a shape that no replay will have. */
static gdn_status check_uniform(gdn_vllm_rows *rows, const gdn_settings *settings, int32_t n, gdn_error *error)
{
    int32_t states = settings->config.num_speculative_tokens + 1, real = 0;
    for (int32_t i = 0; i < n; i++)
        if (rows->query_len[i]) real = i + 1;
    for (int32_t i = 0; i < real; i++) {
        int32_t q = rows->query_len[i];
        if ((q != 1 && q != states) || q != rows->query_len[0])
            GDN_REFUSE(error, "rows[%d].query_len = %d, want all rows alike, 1 or %d", i, q, states);
        rows->seq_len[i] = q + 1;
    }
    return GDN_OK;
}

/* strict: rows of one token are decodes, or speculative rows without drafts where the host says so, all of them. */
static gdn_status check_captured_drafts(gdn_vllm_rows *rows, const gdn_raw *raw, int32_t n, gdn_error *error)
{
    const int32_t *drafts = raw->num_decode_draft_tokens;
    int32_t ones = n && rows->query_len[0] == 1;
    if (ones && drafts && raw->num_num_decode_draft_tokens != n)
        GDN_REFUSE(error, "num_decode_draft_tokens has %d elements, want %d (rows)", raw->num_num_decode_draft_tokens,
                   n);
    for (int32_t i = 0; i < n; i++) {
        int32_t q = rows->query_len[i], d = ones && drafts ? drafts[i] : -1;
        if (q && ones && (d < -1 || d > 0 || (drafts && d != drafts[0])))
            GDN_REFUSE(error, "rows[%d].num_decode_draft_tokens = %d, want all rows alike, -1 or 0", i, d);
        rows->num_draft_tokens[i] = q == 1 ? d : q - 1;
        rows->num_accepted_tokens[i] = q < 1 ? 1 : q;
    }
    return GDN_OK;
}

gdn_status gdn_vllm_capture_step(gdn_vllm_rows *rows, const gdn_settings *settings, const gdn_raw *raw,
                                 const gdn_device_inputs *device_inputs, const gdn_table *tables, gdn_step *out,
                                 gdn_error *error)
{
    int strict = settings->config.rules == GDN_RULES_STRICT;
    gdn_status status = check_sizes(settings, raw, error);
    int32_t n = status ? 0 : raw->num_query_start_loc - 1;
    if (!status) status = check_capture_size(settings, raw, error);
    if (!status) status = copy_query_lens(rows, raw, error);
    if (!status && strict) status = check_uniform(rows, settings, n, error);
    if (!status && strict) status = check_captured_drafts(rows, raw, n, error);
    if (!status && !strict) status = copy_seq_lens(rows, raw, device_inputs, n, error);
    if (!status && !strict) status = borrow_tables(rows, settings, raw, device_inputs, tables, n, error);
    if (status) return status;
    for (int32_t i = 0; i < n; i++) {
        if (!strict) rows->num_draft_tokens[i] = rows->query_len[i] - 1;
        if (!strict) rows->num_accepted_tokens[i] = rows->query_len[i];
        rows->prompt_done[i] = 1;
    }
    *out = describe(rows, raw, n, n);
    out->null_slots = strict;
    return GDN_OK;
}
