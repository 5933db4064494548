/* Heads of records, checksums, ranges. */
#include "worker/record.h"

#include <stdio.h>
#include <string.h>

enum { SUMS = 4 };

/* Each step is a bijection of the state, for the word that it takes in as well: whatever one word becomes, the sum
 * becomes another one. Four sums at once, for a multiplication takes longer than it keeps the multiplier busy. */
static uint64_t stir(uint64_t sum, uint64_t word)
{
    sum = (sum ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return sum ^ sum >> 29;
}

static uint64_t sum_words(uint64_t sum, const char *from, int64_t words)
{
    uint64_t sums[SUMS] = { sum, ~sum, sum + 1, ~sum + 1 }, word[SUMS];
    for (; words >= SUMS; words -= SUMS, from += sizeof word) {
        memcpy(word, from, sizeof word);
        for (int i = 0; i < SUMS; i++) sums[i] = stir(sums[i], word[i]);
    }
    for (; words > 0; words--, from += sizeof *word) {
        memcpy(word, from, sizeof *word);
        sums[0] = stir(sums[0], *word);
    }
    for (int i = 0; i < SUMS; i++) sum = stir(sum, sums[i]);
    return sum;
}

static uint64_t checksum(const gdn_record_head *head)
{
    const char *bytes = (const char *)head;
    int64_t words = (int64_t)(offsetof(gdn_record_head, checksum) / 8), all = head->bytes / 8;
    uint64_t sum = sum_words((uint64_t)all, bytes, words);
    return sum_words(sum, bytes + sizeof *head, all - (int64_t)(sizeof *head / 8));
}

void gdn_record_seal(gdn_record_head *head)
{
    head->version = GDN_WORKER_VERSION;
    head->abi = GDN_ABI;
    head->checksum = checksum(head);
}

gdn_status gdn_record_doubt(const void *record, int64_t bytes, uint32_t magic, gdn_error *error)
{
    const gdn_record_head *head = record;
    if (!record) GDN_REFUSE(error, "record = NULL, want a record");
    if ((uintptr_t)record % 8) GDN_REFUSE(error, "the record is not aligned to 8 bytes");
    if (bytes < (int64_t)sizeof *head)
        GDN_REFUSE(error, "a record of %lld bytes, want >= %zu", (long long)bytes, sizeof *head);
    if (head->magic != magic) GDN_REFUSE(error, "magic = 0x%08x, want 0x%08x", head->magic, magic);
    if (head->version != GDN_WORKER_VERSION)
        GDN_FAIL(error, GDN_EVERSION, "a record of version %u, want %d", head->version, GDN_WORKER_VERSION);
    if (head->abi != GDN_ABI)
        GDN_FAIL(error, GDN_EVERSION, "a record of a library with ABI %d, want %d", head->abi, GDN_ABI);
    if (head->bytes != bytes || bytes % 8)
        GDN_REFUSE(error, "bytes = %lld in a record of %lld, want those, in units of 8", (long long)head->bytes,
                   (long long)bytes);
    if (head->checksum != checksum(head)) GDN_REFUSE(error, "the checksum does not match: the record is corrupt");
    return GDN_OK;
}

gdn_status gdn_record_unused(const gdn_record_head *head, int32_t used, gdn_error *error)
{
    for (int32_t i = used; i < GDN_RECORD_FIELDS; i++)
        if (head->fields[i]) GDN_REFUSE(error, "fields[%d] = %d, want 0", i, head->fields[i]);
    return GDN_OK;
}

gdn_status gdn_record_tail(const gdn_record_head *head, int64_t end, gdn_error *error)
{
    const unsigned char *bytes = (const unsigned char *)head;
    for (int64_t i = end; i < head->bytes; i++)
        if (bytes[i]) GDN_REFUSE(error, "byte %lld after the last value = %d, want 0", (long long)i, bytes[i]);
    return GDN_OK;
}

gdn_status gdn_record_refuse(const gdn_error *error, gdn_status status, char *why, size_t why_size)
{
    if (why) (void)snprintf(why, why_size, "%s", error->text);
    return status;
}

gdn_status gdn_record_range(const char *name, const int32_t *value, int64_t n, int32_t low, int32_t high,
                            gdn_error *error)
{
    uint32_t span = (uint32_t)high - (uint32_t)low, worst = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t above = (uint32_t)value[i] - (uint32_t)low;
        worst = above > worst ? above : worst;
    }
    if (worst <= span) return GDN_OK;
    for (int64_t i = 0; i < n; i++)
        if (value[i] < low || value[i] > high)
            GDN_REFUSE(error, "%s[%lld] = %d, want %d .. %d", name, (long long)i, value[i], low, high);
    return GDN_OK; /* not reached */
}
