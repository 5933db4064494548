/* Who is a prefill, a decode, a speculative row. The rule sets' classifications differ here. */
#include "partition/classify.h"

#include "partition/scan_rows.h"

static gdn_status check_lengths(const gdn_settings *settings, const gdn_step *step, const gdn_scan *seen,
                                gdn_error *error)
{
    int32_t limit = settings->config.max_num_batched_tokens;
    for (int32_t i = 0; seen->length_bits < 0 && i < step->rows; i++)
        if (step->query_len[i] < 0)
            return gdn_fail(error, GDN_EINVAL, "rows[%d].query_len = %d, want >= 0", i, step->query_len[i]);
    if (seen->tokens > limit)
        return gdn_fail(error, GDN_ECAP, "the rows have %lld tokens, want 0 .. %d (max_num_batched_tokens)",
                        (long long)seen->tokens, limit);
    const char *padded = step->from_batch ? "padded_tokens" : "num_actual_tokens";
    int exact = step->from_batch || settings->config.rules == GDN_RULES_STRICT;
    if (exact && step->num_actual_tokens >= 0 && step->num_actual_tokens < seen->tokens)
        return gdn_fail(error, GDN_EINVAL, "%s = %d, want >= %lld, the tokens of the rows", padded,
                        step->num_actual_tokens, (long long)seen->tokens);
    if (step->num_actual_tokens > limit)
        return gdn_fail(error, GDN_ECAP, "%s = %d, want 0 .. %d (max_num_batched_tokens)", padded,
                        step->num_actual_tokens, limit);
    return GDN_OK;
}

/* Boundaries of all rows. Decodes stand in front in almost every step: their starts are their numbers. */
static void sum_lengths(const int32_t *query_len, int32_t rows, int32_t ones, int32_t *start)
{
    for (int32_t i = 0; i <= ones; i++) start[i] = i;
    for (int32_t i = ones, at = ones; i < rows; i++) start[i + 1] = at += query_len[i];
}

/* strict: a row with nothing computed yet starts from zeros, so it is a prefill whatever its length. */
static int32_t first_prefill(const gdn_settings *settings, const gdn_step *step, int32_t rows, int32_t ones)
{
    if (settings->config.rules == GDN_RULES_STRICT) return gdn_find_one(step->seq_len, ones, 1);
    int32_t f = ones;
    while (f < rows && step->query_len[f] <= 1) f++;
    return f;
}

static gdn_status classify_plain(gdn_partition *p, const gdn_settings *settings, const gdn_step *step,
                                 const gdn_scan *seen, gdn_error *error)
{
    int strict = settings->config.rules == GDN_RULES_STRICT;
    int32_t total = strict ? p->tokens : p->num_actual_tokens;
    int32_t reqs = strict ? p->rows : p->num_reqs;
    int32_t longest = strict || step->max_query_len < 0 ? seen->length_bits : step->max_query_len;
    int32_t decodes = reqs, decode_tokens = total;

    p->num_non_spec = p->rows;
    p->non_spec_rows = NULL;
    p->non_spec_start = p->query_start;
    if (!strict && longest > 1 && p->rows == 0)
        return gdn_fail(error, GDN_EINVAL, "max_query_len = %d, want <= 1 for a batch without rows", longest);
    if (strict || longest > 1) {
        int32_t first = first_prefill(settings, step, p->rows, p->leading_ones);
        if (first < p->rows) decodes = first, decode_tokens = p->query_start[first];
    }
    p->num_decodes = decodes;
    p->num_prefills = reqs - decodes; /* below zero when num_reqs stops short of the first prefill */
    p->num_decode_tokens = decode_tokens;
    p->num_prefill_tokens = total - decode_tokens;
    return GDN_OK;
}

/* vllm-2026-11: a row that starts from nothing is a prefill, also with one token, and rows without tokens count in
 * no class from the first prefill on. */
static gdn_status classify_by_progress(gdn_partition *p, const gdn_step *step, gdn_error *error)
{
    int32_t rows = p->rows, first = 0, end = p->num_reqs, empty = 0;
    p->num_non_spec = rows;
    p->non_spec_rows = NULL;
    p->non_spec_start = p->query_start;
    if (rows == 0) return gdn_fail(error, GDN_EINVAL, "query_start_loc has 0 rows, want >= 1");
    while (first < rows) {
        int32_t n = step->query_len[first], is_fresh = !step->prompt_done[first] && n > 0 && step->seq_len[first] <= n;
        if (n > 1 || is_fresh) break;
        first++;
    }
    int32_t decodes = first < rows ? first : p->num_reqs;
    int32_t decode_tokens = first < rows ? p->query_start[first] : p->num_actual_tokens;
    int32_t total = p->num_actual_tokens;
    if (decodes != p->num_reqs) {
        for (int32_t i = decodes; i < rows; i++) empty += step->query_len[i] == 0;
        end -= empty;
        /* Below zero upstream counts boundaries from their end. */
        int32_t at = end < 0 ? end + rows + 1 : end;
        if (at < 0 || at > rows)
            return gdn_fail(error, GDN_EINVAL, "num_reqs = %d with %d empty rows, want 0 .. %d that are not",
                            p->num_reqs, empty, rows);
        total = p->query_start[at];
    }
    p->num_decodes = decodes;
    p->num_prefills = end - decodes;
    p->num_decode_tokens = decode_tokens;
    p->num_prefill_tokens = total - decode_tokens;
    return GDN_OK;
}

/* Tokens of every listed spec row where they all have as many, else 0. */
static int32_t common_length(const gdn_partition *p)
{
    const int32_t *start = p->spec_start_buffer;
    int32_t first = p->num_spec ? start[1] : 0, differ = 0;
    for (int32_t k = 1; k < p->num_spec; k++) differ |= (start[k + 1] - start[k]) ^ first;
    return differ ? 0 : first;
}

/* Splits the rows in two lists, each with its own boundaries. Of the pointers here none is read again in the loop. */
static void split_rows(gdn_partition *p, const gdn_step *step)
{
    const int32_t *query_len = step->query_len, *drafts = step->num_draft_tokens;
    int32_t *restrict all_start = p->all_start;
    int32_t *restrict spec_rows = p->spec_rows_buffer, *restrict non_spec_rows = p->non_spec_rows_buffer;
    int32_t *restrict spec_start = p->spec_start_buffer, *restrict non_spec_start = p->non_spec_start_buffer;
    int32_t spec_tokens = 0, at = 0;
    size_t rows = (size_t)p->rows, spec = 0;
    for (size_t i = 0; i < rows; i++) {
        int32_t n = query_len[i], is_spec = drafts[i] >= 0;
        all_start[i] = at;
        spec_rows[spec] = non_spec_rows[i - spec] = (int32_t)i;
        spec_start[spec] = spec_tokens;
        non_spec_start[i - spec] = at - spec_tokens;
        at += n;
        spec += (size_t)is_spec;
        spec_tokens += is_spec ? n : 0;
    }
    all_start[rows] = at;
    spec_start[spec] = spec_tokens;
    non_spec_start[rows - spec] = at - spec_tokens;
    p->num_spec = (int32_t)spec;
    p->num_non_spec = (int32_t)(rows - spec);
    p->spec_rows = spec_rows;
    p->num_spec_decode_tokens = spec_tokens;
    p->uniform_spec_length = common_length(p);
}

static int is_padding(const gdn_step *step, int32_t from, int32_t to)
{
    int32_t tokens = 0, named = 0;
    if (from < to && step->query_len[from]) return 0; /* as in most steps */
    for (int32_t i = from; i < to; i++) {
        tokens |= step->query_len[i];
        named |= step->num_draft_tokens[i] >= 0;
    }
    return !tokens && !named;
}

/* Nothing but speculative rows, and padding after them: no list is needed. */
static void take_front(gdn_partition *p, const gdn_step *step, int32_t front)
{
    int32_t length = gdn_repeat_length(step->query_len, front, p->all_start);
    if (length < 0) sum_lengths(step->query_len, p->rows, 0, p->all_start);
    for (int32_t i = front, end = p->tokens; length >= 0 && i <= p->rows; i++) p->all_start[i] = end;
    p->num_spec = front;
    p->num_non_spec = p->rows - front;
    p->spec_rows = NULL;
    p->num_spec_decode_tokens = p->tokens;
    p->uniform_spec_length = length < 0 ? 0 : length;
}

static void classify_speculative(gdn_partition *p, const gdn_settings *settings, const gdn_step *step)
{
    int32_t front = gdn_find_negative(step->num_draft_tokens, p->rows), empty = 0;
    if (is_padding(step, front, p->rows)) take_front(p, step, front);
    else split_rows(p, step);
    p->mixed = p->num_spec_decode_tokens < p->tokens;
    p->num_spec_decodes = p->num_spec;
    p->non_spec_rows = p->non_spec_rows_buffer;
    p->non_spec_start = p->non_spec_start_buffer;
    /* A purely speculative step hands out the batch's own first boundaries, as vLLM does. */
    p->spec_start = p->mixed ? p->spec_start_buffer : p->query_start;
    if (!p->mixed) {
        /* ... and since 2026-11 the first states and accepted counts, too. */
        if (settings->config.rules == GDN_RULES_VLLM_2026_11) p->spec_rows = NULL;
        return;
    }

    /* Plain decodes among speculative rows count as prefills; empty rows do not. */
    p->leading_ones = 0;
    for (int32_t k = 0; k < p->num_non_spec; k++) empty += p->non_spec_start[k] == p->non_spec_start[k + 1];
    while (p->leading_ones < p->num_non_spec && p->non_spec_start[p->leading_ones + 1] == p->leading_ones + 1)
        p->leading_ones++;
    p->num_prefills = p->num_non_spec - empty;
    p->num_prefill_tokens = p->tokens - p->num_spec_decode_tokens;
}

static int32_t count_real_rows(const gdn_step *step)
{
    int32_t rows = step->table_rows < step->rows ? step->table_rows : step->rows;
    while (rows > 0 && step->query_len[rows - 1] == 0) rows--;
    return rows;
}

gdn_status gdn_classify(gdn_partition *p, const gdn_settings *settings, const gdn_step *step, gdn_error *error)
{
    int is_2026_11 = settings->config.rules == GDN_RULES_VLLM_2026_11;
    int by_name = is_2026_11 || settings->config.rules == GDN_RULES_STRICT; /* 0 drafts, too, make a row speculative */
    gdn_scan seen = gdn_scan_rows(step);
    gdn_status status = check_lengths(settings, step, &seen, error);
    if (status) return status;

    p->rows = settings->config.rules == GDN_RULES_STRICT ? count_real_rows(step) : step->rows;
    p->tokens = (int32_t)seen.tokens;
    p->num_actual_tokens = step->num_actual_tokens < 0 ? p->tokens : step->num_actual_tokens;
    p->num_reqs = step->num_reqs;
    p->speculative = settings->config.num_speculative_tokens > 0 && (by_name ? seen.named < 0 : seen.has_drafts);
    p->any_drafts_given = seen.named != 0;
    p->query_start = p->all_start;
    p->mixed = p->for_graph = p->padded_rows = p->padded_bounds = p->num_spec = 0;
    p->num_prefills = p->num_prefill_tokens = p->num_decodes = p->num_decode_tokens = 0;
    p->num_spec_decodes = p->num_spec_decode_tokens = p->uniform_spec_length = 0;

    if (p->speculative) {
        classify_speculative(p, settings, step);
        return GDN_OK;
    }
    int all_ones = seen.length_bits == 1 && p->tokens == step->rows;
    p->leading_ones = all_ones ? p->rows : gdn_find_one(step->query_len, p->rows, 0);
    sum_lengths(step->query_len, p->rows, p->leading_ones, p->all_start);
    return is_2026_11 ? classify_by_progress(p, step, error) : classify_plain(p, settings, step, &seen, error);
}
