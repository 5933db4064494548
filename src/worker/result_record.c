/* Result records: what the rows of a step emitted, or why there is none. */
#include "worker/record.h"

#include <string.h>

/* X(count of gdn_result_record), in the order of a head's fields. */
#define COUNTS(X) X(num_rows) X(num_tokens) X(num_drafts) X(text_bytes)

#define X(name) AT_##name,
enum { COUNTS(X) AT_has_drafts, NUM_FIELDS };
#undef X

typedef struct layout {
    int64_t emitted, tokens, next_drafts, drafts, text, bytes; /* offsets, and where the record ends */
} layout;

static layout layout_of(const gdn_result_record *r, int has_drafts)
{
    layout l = { .emitted = (int64_t)sizeof(gdn_record_head) };
    l.tokens = l.emitted + 4 * (int64_t)r->num_rows;
    l.next_drafts = l.tokens + 4 * (int64_t)r->num_tokens;
    l.drafts = l.next_drafts + (has_drafts ? 4 * (int64_t)r->num_rows : 0);
    l.text = l.drafts + 4 * (int64_t)r->num_drafts;
    l.bytes = gdn_record_round(l.text + r->text_bytes + 1);
    return l;
}

static gdn_status check_counts(const gdn_result_record *r, gdn_error *error)
{
    const int32_t most = GDN_MAX_ROWS * (GDN_MAX_SPEC + 1);
    struct { const char *name; int64_t value, high; } counts[] = {
        { "number", r->number, INT64_C(1) << 53 }, { "status", r->status, GDN_RESULT_FAILED },
        { "num_rows", r->num_rows, r->status ? 0 : GDN_MAX_ROWS }, { "num_tokens", r->num_tokens, most },
        { "num_drafts", r->num_drafts, most }, { "text_bytes", r->text_bytes, GDN_RESULT_TEXT - 1 },
        { "has_drafts", r->has_drafts, 1 },
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (counts[i].value < 0 || counts[i].value > counts[i].high)
            GDN_REFUSE(error, "%s = %lld, want 0 .. %lld", counts[i].name, (long long)counts[i].value,
                       (long long)counts[i].high);
    return GDN_OK;
}

static gdn_status check_sum(const char *name, const int32_t *counts, int32_t rows, const char *of, int32_t sum,
                            gdn_error *error)
{
    int64_t total = 0;
    gdn_status status = gdn_record_range(name, counts, rows, 0, GDN_MAX_SPEC + 1, error);
    for (int32_t i = 0; !status && i < rows; i++) total += counts[i];
    if (!status && total != sum)
        GDN_REFUSE(error, "%s = %d, want %lld, the sum of %s", of, sum, (long long)total, name);
    return status;
}

static gdn_status check_values(const gdn_result_record *r, gdn_error *error)
{
    gdn_status status = check_sum("emitted", r->emitted, r->num_rows, "num_tokens", r->num_tokens, error);
    if (!status) status = gdn_record_range("tokens", r->tokens, r->num_tokens, 0, INT32_MAX, error);
    if (!status) status = check_sum("next_drafts", r->next_drafts, r->next_drafts ? r->num_rows : 0, "num_drafts",
                                    r->num_drafts, error);
    if (!status) status = gdn_record_range("drafts", r->drafts, r->num_drafts, 0, INT32_MAX, error);
    if (!status && r->text_bytes && memchr(r->text, 0, (size_t)r->text_bytes))
        GDN_REFUSE(error, "text has a byte of 0 within its %d", r->text_bytes);
    return status;
}

static gdn_status check_pointers(const gdn_result_record *r, gdn_error *error)
{
    if ((r->num_rows && !r->emitted) || (r->num_tokens && !r->tokens) || (r->num_drafts && !r->drafts) ||
        (r->text_bytes && !r->text))
        GDN_REFUSE(error, "emitted, tokens, drafts or text = NULL, want what the counts say");
    return GDN_OK;
}

static void copy(void *out, int64_t at, const void *from, int64_t bytes)
{
    if (bytes) memcpy((char *)out + at, from, (size_t)bytes);
}

int32_t gdn_result_pack(const gdn_result_record *r, void *out, int64_t size, char *why, size_t why_size)
{
    gdn_error error = { "result = NULL, want one" };
    gdn_status status = r ? check_counts(r, &error) : GDN_EINVAL;
    if (!status) status = check_pointers(r, &error);
    if (!status) status = check_values(r, &error);
    if (!status && (!out || (uintptr_t)out % 8))
        status = gdn_fail(&error, GDN_EINVAL, "out is NULL or not aligned to 8 bytes");
    layout l = { 0 };
    if (!status) l = layout_of(r, r->next_drafts != NULL);
    if (!status && l.bytes > size)
        status = gdn_fail(&error, GDN_ECAP, "the record takes %lld bytes, there is room for %lld", (long long)l.bytes,
                          (long long)size);
    if (status) return gdn_record_refuse(&error, status, why, why_size);
    gdn_record_head *head = out;
    copy(out, l.emitted, r->emitted, 4 * (int64_t)r->num_rows);
    copy(out, l.tokens, r->tokens, 4 * (int64_t)r->num_tokens);
    if (r->next_drafts) copy(out, l.next_drafts, r->next_drafts, 4 * (int64_t)r->num_rows);
    copy(out, l.drafts, r->drafts, 4 * (int64_t)r->num_drafts);
    copy(out, l.text, r->text, r->text_bytes);
    memset((char *)out + l.text + r->text_bytes, 0, (size_t)(l.bytes - l.text - r->text_bytes));
    *head = (gdn_record_head){ .magic = GDN_RESULT_MAGIC, .bytes = l.bytes, .number = r->number, .kind = r->status };
#define X(name) head->fields[AT_##name] = r->name;
    COUNTS(X)
#undef X
    head->fields[AT_has_drafts] = r->next_drafts != NULL;
    gdn_record_seal(head);
    return (int32_t)l.bytes;
}

static gdn_status unpack(const void *record, int64_t bytes, gdn_result_record *r, gdn_error *error)
{
    const gdn_record_head *head = record;
    gdn_status status = gdn_record_doubt(record, bytes, GDN_RESULT_MAGIC, error);
    if (!status) status = gdn_record_unused(head, NUM_FIELDS, error);
    if (status) return status;
    *r = (gdn_result_record){ .number = head->number, .status = head->kind };
#define X(name) r->name = head->fields[AT_##name];
    COUNTS(X)
#undef X
    r->has_drafts = head->fields[AT_has_drafts];
    status = check_counts(r, error);
    if (status) return status;
    layout l = layout_of(r, r->has_drafts);
    if (l.bytes != bytes)
        GDN_REFUSE(error, "a record of %lld bytes, want %lld by its counts", (long long)bytes, (long long)l.bytes);
    const char *at = record;
    r->emitted = (const int32_t *)(at + l.emitted), r->tokens = (const int32_t *)(at + l.tokens);
    r->next_drafts = r->has_drafts ? (const int32_t *)(at + l.next_drafts) : NULL;
    r->drafts = (const int32_t *)(at + l.drafts), r->text = at + l.text;
    if (r->text[r->text_bytes]) GDN_REFUSE(error, "text does not end in 0");
    status = check_values(r, error);
    return status ? status : gdn_record_tail(head, l.text + r->text_bytes + 1, error);
}

gdn_status gdn_result_unpack(const void *record, int64_t bytes, gdn_result_record *out, char *why, size_t why_size)
{
    gdn_error error = { "out = NULL, want a place for the views" };
    gdn_result_record result;
    gdn_status status = out ? unpack(record, bytes, &result, &error) : GDN_EINVAL;
    if (status) return gdn_record_refuse(&error, status, why, why_size);
    *out = result;
    return GDN_OK;
}

static void copy_out(int32_t *to, const int32_t *from, int32_t n)
{
    if (to && from && n > 0) memcpy(to, from, (size_t)n * sizeof *to);
}

void gdn_result_copy(const gdn_result_record *r, int32_t *emitted, int32_t *tokens, int32_t *next_drafts,
                     int32_t *drafts)
{
    if (!r) return;
    copy_out(emitted, r->emitted, r->num_rows);
    copy_out(tokens, r->tokens, r->num_tokens);
    if (r->next_drafts) copy_out(next_drafts, r->next_drafts, r->num_rows);
    if (r->next_drafts) copy_out(drafts, r->drafts, r->num_drafts);
}
