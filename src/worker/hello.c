/* The first record: what a worker makes its builder of. */
#include "worker/step_layout.h"

#include "builder/builder.h"
#include "gdnmeta_scheduler.h"

#include <string.h>

enum { MAX_MODEL_LEN = 1 << 30 };

/* A hello's fields, then its config, then num_slots[num_groups]. */
#define FIELDS(X) \
    X(kv_blocks) X(kv_block_size) X(kv_columns) X(max_model_len) X(vocab_size) X(max_kv_copies) X(asynchronous)

#define X(name) AT_##name,
enum { FIELDS(X) AT_config_bytes, NUM_FIELDS };
#undef X

gdn_status gdn_hello_init(const gdn_builder *b, gdn_hello *hello)
{
    if (!b || !hello) return GDN_EINVAL;
    *hello = (gdn_hello){ .max_model_len = MAX_MODEL_LEN };
    gdn_builder_config(b, &hello->config);
    hello->max_kv_copies = hello->config.max_requests;
    return GDN_OK;
}

static gdn_status check_range(const char *name, int64_t value, int64_t low, int64_t high, gdn_error *error)
{
    if (value >= low && value <= high) return GDN_OK;
    GDN_REFUSE(error, "hello: %s = %lld, want %lld .. %lld", name, (long long)value, (long long)low, (long long)high);
}

/* Bytes of the largest step record, as the counts of the limits have it: less than 2^56 for any of them. */
static int64_t largest_step(const gdn_hello *h)
{
    const gdn_config *c = &h->config;
    int64_t rows = c->max_rows, groups = rows * c->num_groups, columns = gdn_step_columns(c);
    int64_t bytes = (int64_t)sizeof(gdn_record_head);
    bytes += rows * (2 * 8 + 11 * 4) + groups * 4 * (columns + 2) + 4 * (int64_t)c->max_num_batched_tokens;
    bytes += rows * 12 * h->kv_columns + 8 * (int64_t)h->max_kv_copies;
    return gdn_record_round(bytes);
}

static gdn_status check_hello(const gdn_hello *h, gdn_error *error)
{
    int64_t most = INT32_MAX;
    struct { const char *name; int64_t value, low, high; } ranges[] = {
        { "kv_blocks", h->kv_blocks, 0, most }, { "kv_block_size", h->kv_block_size, h->kv_blocks > 0, most },
        { "kv_columns", h->kv_columns, h->kv_blocks > 0, h->kv_blocks ? most : 0 },
        { "max_model_len", h->max_model_len, 1, MAX_MODEL_LEN }, { "vocab_size", h->vocab_size, 0, most },
        { "max_kv_copies", h->max_kv_copies, 0, most }, { "asynchronous", h->asynchronous, 0, 1 },
        { "reserved", h->reserved, 0, 0 },
    };
    gdn_settings settings;
    gdn_status status = gdn_settings_make(&h->config, &settings, error);
    for (size_t i = 0; !status && i < sizeof ranges / sizeof *ranges; i++)
        status = check_range(ranges[i].name, ranges[i].value, ranges[i].low, ranges[i].high, error);
    if (status) return status;
    if (h->config.max_rows < 1 || h->config.max_requests < 1 || h->config.max_blocks_per_row < 1 ||
        !h->config.num_slots)
        GDN_REFUSE(error, "hello: max_rows, max_requests, max_blocks_per_row or num_slots are not given, want a "
                          "builder's");
    if (largest_step(h) > GDN_RECORD_MOST)
        GDN_REFUSE(error, "hello: a step of %d rows, %d tokens and %d columns of the kv table takes more than 2 GiB",
                   h->config.max_rows, h->config.max_num_batched_tokens, h->kv_columns);
    return GDN_OK;
}

/* Where the last of num_slots ends. */
static int64_t hello_end(int32_t groups)
{
    return (int64_t)(sizeof(gdn_record_head) + sizeof(gdn_config)) + 8 + 4 * (int64_t)groups;
}

static int64_t hello_bytes(int32_t groups)
{
    return gdn_record_round(hello_end(groups));
}

int32_t gdn_hello_pack(const gdn_hello *hello, void *out, int64_t size, char *why, size_t why_size)
{
    gdn_error error = { "hello = NULL, want one" };
    gdn_status status = hello ? check_hello(hello, &error) : GDN_EINVAL;
    if (!status && (!out || (uintptr_t)out % 8))
        status = gdn_fail(&error, GDN_EINVAL, "out is NULL or not aligned to 8 bytes");
    int64_t bytes = status ? 0 : hello_bytes(hello->config.num_groups);
    if (!status && bytes > size)
        status = gdn_fail(&error, GDN_ECAP, "a hello takes %lld bytes, there is room for %lld", (long long)bytes,
                          (long long)size);
    if (status) return gdn_record_refuse(&error, status, why, why_size);
    gdn_record_head *head = out;
    gdn_config config = hello->config;
    config.num_slots = NULL;
    memset(out, 0, (size_t)bytes);
    *head = (gdn_record_head){ .magic = GDN_STEP_MAGIC, .bytes = bytes, .kind = GDN_STEP_HELLO };
#define X(name) head->fields[AT_##name] = hello->name;
    FIELDS(X)
#undef X
    head->fields[AT_config_bytes] = (int32_t)sizeof config;
    char *at = (char *)(head + 1);
    memcpy(at, &hello->seed, 8);
    memcpy(at + 8, &config, sizeof config);
    memcpy(at + 8 + sizeof config, hello->config.num_slots, 4 * (size_t)config.num_groups);
    gdn_record_seal(head);
    return (int32_t)bytes;
}

static gdn_status unpack(const void *record, int64_t bytes, gdn_hello *out, gdn_error *error)
{
    const gdn_record_head *head = record;
    gdn_status status = gdn_record_doubt(record, bytes, GDN_STEP_MAGIC, error);
    if (!status) status = gdn_record_unused(head, NUM_FIELDS, error);
    if (status) return status;
    if (head->kind != GDN_STEP_HELLO || head->number)
        GDN_REFUSE(error, "kind = %d, number = %lld, want a hello", head->kind, (long long)head->number);
    if (head->fields[AT_config_bytes] != (int32_t)sizeof out->config || bytes < hello_bytes(0))
        GDN_REFUSE(error, "a configuration of %d bytes, want %zu", head->fields[AT_config_bytes], sizeof out->config);
    const char *at = (const char *)(head + 1);
    *out = (gdn_hello){ .reserved = 0 };
#define X(name) out->name = head->fields[AT_##name];
    FIELDS(X)
#undef X
    memcpy(&out->seed, at, 8);
    memcpy(&out->config, at + 8, sizeof out->config);
    int32_t groups = out->config.num_groups;
    if (groups < 1 || groups > GDN_MAX_GROUPS || bytes != hello_bytes(groups))
        GDN_REFUSE(error, "a hello of %lld bytes for %d groups", (long long)bytes, groups);
    if (out->config.num_slots) GDN_REFUSE(error, "hello: num_slots is a pointer, want NULL in a record");
    out->config.num_slots = (const int32_t *)(at + 8 + sizeof out->config);
    status = check_hello(out, error);
    return status ? status : gdn_record_tail(head, hello_end(groups), error);
}

gdn_status gdn_hello_unpack(const void *record, int64_t bytes, gdn_hello *out, char *why, size_t why_size)
{
    gdn_error error = { "out = NULL, want a place for the hello" };
    gdn_hello hello;
    gdn_status status = out ? unpack(record, bytes, &hello, &error) : GDN_EINVAL;
    if (status) return gdn_record_refuse(&error, status, why, why_size);
    *out = hello;
    return GDN_OK;
}

int32_t gdn_step_bytes(const gdn_hello *hello)
{
    gdn_error error;
    if (!hello || check_hello(hello, &error)) return GDN_EINVAL;
    int64_t step = largest_step(hello), first = hello_bytes(hello->config.num_groups);
    return (int32_t)(step > first ? step : first);
}

int32_t gdn_result_bytes(const gdn_hello *hello)
{
    gdn_error error;
    if (!hello || check_hello(hello, &error)) return GDN_EINVAL;
    int64_t rows = hello->config.max_rows, spec = hello->config.num_speculative_tokens;
    return (int32_t)gdn_record_round((int64_t)sizeof(gdn_record_head) + rows * 4 * (3 + 2 * spec) + GDN_RESULT_TEXT);
}

int32_t gdn_worker_version(void)
{
    return GDN_WORKER_VERSION;
}
