/* What a step record may say: first its counts, then its values. */
#include "worker/step_layout.h"

enum { MAX_COLUMNS = 1 << 24 };

static gdn_status check_count(const char *name, int64_t value, int64_t low, int64_t high, gdn_error *error)
{
    if (value >= low && value <= high) return GDN_OK;
    GDN_REFUSE(error, "%s = %lld, want %lld .. %lld", name, (long long)value, (long long)low, (long long)high);
}

static gdn_status check_rowless(const gdn_step_record *s, gdn_error *error)
{
    if (s->num_rows || s->num_tokens)
        GDN_REFUSE(error, "kind = %d with %d rows and %d tokens, want none", s->kind, s->num_rows, s->num_tokens);
    return GDN_OK;
}

gdn_status gdn_step_check_counts(const gdn_step_record *s, const gdn_hello *limits, gdn_error *error)
{
    const gdn_config *c = limits ? &limits->config : NULL;
    int64_t rows = c ? c->max_rows : GDN_MAX_ROWS, tokens = c ? c->max_num_batched_tokens : INT32_MAX;
    int64_t groups = c ? c->num_groups : GDN_MAX_GROUPS, columns = c ? gdn_step_columns(c) : MAX_COLUMNS;
    int64_t changes = c ? (int64_t)s->num_rows * limits->kv_columns : INT32_MAX;
    int64_t copies = !c ? INT32_MAX : limits->kv_blocks ? limits->max_kv_copies : 0;
    struct { const char *name; int64_t value, low, high; } counts[] = {
        { "number", s->number, 1, INT64_C(1) << 53 },
        { "kind", s->kind, GDN_STEP_ROWS, GDN_STEP_STOP },
        { "graph", s->graph, GDN_RUN_EAGER, GDN_RUN_FULL },
        { "branches", s->branches, 0, GDN_BRANCH_SPECULATIVE | GDN_BRANCH_DECODE | GDN_BRANCH_PREFILL },
        { "num_rows", s->num_rows, 0, rows },
        { "padded_rows", s->padded_rows, s->num_rows, rows },
        { "num_tokens", s->num_tokens, 0, tokens },
        { "padded_tokens", s->padded_tokens, s->num_tokens, tokens },
        { "num_groups", s->num_groups, c ? groups : 1, groups },
        { "columns", s->columns, c ? columns : 1, columns },
        { "num_table_changes", s->num_table_changes, 0, changes },
        { "num_kv_copies", s->num_kv_copies, 0, copies },
        { "num_bring", s->num_bring, 0, s->num_rows },
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        gdn_status status = check_count(counts[i].name, counts[i].value, counts[i].low, counts[i].high, error);
        if (status) return status;
    }
    return s->kind == GDN_STEP_ROWS ? GDN_OK : check_rowless(s, error);
}

/* What the numbers of one row have to do with each other. */
static gdn_status check_rows(const gdn_step_record *s, gdn_error *error)
{
    int64_t tokens = 0;
    for (int32_t i = 0; i < s->num_rows; i++) {
        int32_t n = s->query_len[i];
        if (s->seq_len[i] < n) GDN_REFUSE(error, "seq_len[%d] = %d, want >= %d, its query_len", i, s->seq_len[i], n);
        if (s->drafts[i] >= n) GDN_REFUSE(error, "drafts[%d] = %d, want < %d, its query_len", i, s->drafts[i], n);
        if (s->request[i] < 0)
            GDN_REFUSE(error, "request[%d] = %lld, want >= 0", i, (long long)s->request[i]);
        if (!(s->temperature[i] >= 0 && s->temperature[i] <= 1e6f))
            GDN_REFUSE(error, "temperature[%d] = %.9g, want 0 .. 1e6", i, (double)s->temperature[i]);
        if (!(s->top_p[i] > 0 && s->top_p[i] <= 1))
            GDN_REFUSE(error, "top_p[%d] = %.9g, want more than 0, up to 1", i, (double)s->top_p[i]);
        tokens += n;
    }
    if (tokens != s->num_tokens)
        GDN_REFUSE(error, "num_tokens = %d, want %lld, the sum of query_len", s->num_tokens, (long long)tokens);
    return GDN_OK;
}

static gdn_status check_triples(const gdn_step_record *s, const gdn_hello *limits, gdn_error *error)
{
    int32_t rows = limits ? limits->config.max_requests - 1 : INT32_MAX;
    int32_t columns = limits ? limits->kv_columns - 1 : INT32_MAX, blocks = limits ? limits->kv_blocks - 1 : INT32_MAX;
    for (int32_t k = 0; k < s->num_table_changes; k++) {
        const int32_t *t = s->table_changes + 3 * (int64_t)k;
        if (t[0] < 0 || t[0] > rows || t[1] < 0 || t[1] > columns || t[2] < 0 || t[2] > blocks)
            GDN_REFUSE(error, "table_changes[%d] = (%d, %d, %d), want at most (%d, %d, %d)", k, t[0], t[1], t[2], rows,
                       columns, blocks);
    }
    return gdn_record_range("kv_copies", s->kv_copies, 2 * (int64_t)s->num_kv_copies, 0, blocks, error);
}

gdn_status gdn_step_check_values(const gdn_step_record *s, const gdn_hello *limits, gdn_error *error)
{
    const gdn_config *c = limits ? &limits->config : NULL;
    int32_t spec = c ? c->num_speculative_tokens : GDN_MAX_SPEC;
    struct { const char *name; const int32_t *values; int64_t n; int32_t low, high; } ranges[] = {
        { "query_len", s->query_len, s->num_rows, 1, INT32_MAX },
        { "seq_len", s->seq_len, s->num_rows, 1, c ? limits->max_model_len + spec : INT32_MAX },
        { "drafts", s->drafts, s->num_rows, -1, spec },
        { "accepted_tokens", s->accepted_tokens, s->num_rows, 1, spec + 1 },
        { "prompt_done", s->prompt_done, s->num_rows, 0, 1 },
        { "table_row", s->table_row, s->num_rows, 0, c ? c->max_requests - 1 : INT32_MAX },
        { "read_column", s->read_column, s->num_rows, GDN_READ_DEFAULT, c ? c->max_blocks_per_row - 1 : INT32_MAX },
        { "checkpoint_len", s->checkpoint_len, s->num_rows, 0, INT32_MAX },
        { "samples", s->samples, s->num_rows, 0, 1 },
        { "tokens", s->tokens, s->num_tokens, limits && !limits->asynchronous ? 0 : GDN_TOKEN_PENDING,
          limits && limits->vocab_size ? limits->vocab_size - 1 : INT32_MAX },
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        gdn_status status = gdn_record_range(ranges[i].name, ranges[i].values, ranges[i].n, ranges[i].low,
                                             ranges[i].high, error);
        if (status) return status;
    }
    gdn_status status = check_rows(s, error);
    return status ? status : check_triples(s, limits, error);
}

gdn_status gdn_step_check_slots(const gdn_step_record *s, const gdn_hello *limits, gdn_error *error)
{
    int64_t rows = s->num_rows, per_group = rows * s->columns;
    for (int32_t g = 0; g < s->num_groups; g++) {
        int32_t last = limits ? limits->config.num_slots[g] - 1 : INT32_MAX;
        gdn_status status = gdn_record_range("slots", s->slots + g * per_group, per_group, 0, last, error);
        if (!status) status = gdn_record_range("read_slots", s->read_slots + g * rows, rows, 0, last, error);
        if (status) return status;
    }
    return GDN_OK;
}
