/* Step records: from arrays to bytes, and from bytes to views. */
#include "worker/step_layout.h"
#include "worker/step_pack.h"

#include <string.h>

/* X(count of gdn_step_record), in the order of a head's fields. */
#define COUNTS(X) \
    X(graph) X(branches) X(num_rows) X(num_tokens) X(padded_rows) X(padded_tokens) X(num_groups) X(columns) \
    X(num_table_changes) X(num_kv_copies) X(num_bring)

#define X(name) AT_##name,
enum { COUNTS(X) NUM_FIELDS };
#undef X

int32_t gdn_step_seal(const gdn_step_record *step, const gdn_step_layout *layout, void *out)
{
    gdn_record_head *head = out;
    for (int a = 0; a < GDN_NUM_STEP_ARRAYS; a++) {
        int64_t bytes = layout->elements[a] * gdn_step_element_bytes(a);
        const void *from = gdn_step_array(step, a);
        char *to = (char *)out + layout->offset[a];
        if (bytes && from != to) memcpy(to, from, (size_t)bytes);
    }
    memset((char *)out + layout->end, 0, (size_t)(layout->bytes - layout->end));
    *head = (gdn_record_head){ .magic = GDN_STEP_MAGIC, .bytes = layout->bytes, .number = step->number,
                               .kind = step->kind };
#define X(name) head->fields[AT_##name] = step->name;
    COUNTS(X)
#undef X
    gdn_record_seal(head);
    return (int32_t)layout->bytes;
}

gdn_status gdn_step_check_size(const gdn_step_layout *layout, const void *out, int64_t size, gdn_error *error)
{
    if (!out) GDN_REFUSE(error, "out = NULL, want memory for a record");
    if ((uintptr_t)out % 8) GDN_REFUSE(error, "out is not aligned to 8 bytes");
    if (layout->bytes > GDN_RECORD_MOST)
        GDN_FAIL(error, GDN_ECAP, "the record takes %lld bytes, want less than 2 GiB", (long long)layout->bytes);
    if (layout->bytes > size)
        GDN_FAIL(error, GDN_ECAP, "the record takes %lld bytes, there is room for %lld", (long long)layout->bytes,
                 (long long)size);
    return GDN_OK;
}

gdn_status gdn_step_check_arrays(const gdn_step_record *step, const gdn_step_layout *layout, gdn_error *error)
{
    for (int a = 0; a < GDN_NUM_STEP_ARRAYS; a++) {
        int is_slots = a == GDN_AT_slots || a == GDN_AT_read_slots || a == GDN_AT_checkpoint_slot;
        if (!is_slots && layout->elements[a] && !gdn_step_array(step, a))
            GDN_REFUSE(error, "%s = NULL, want %lld elements", GDN_STEP_ARRAY_NAMES[a],
                       (long long)layout->elements[a]);
    }
    return GDN_OK;
}

int32_t gdn_step_pack(const gdn_step_record *step, const gdn_hello *limits, void *out, int64_t size, char *why,
                      size_t why_size)
{
    gdn_error error = { "step = NULL, want a step" };
    gdn_step_layout layout;
    gdn_status status = step ? gdn_step_check_counts(step, limits, &error) : GDN_EINVAL;
    if (!status) {
        gdn_step_layout_make(&layout, step);
        status = gdn_step_check_arrays(step, &layout, &error);
    }
    if (!status && step->num_rows && !(step->slots && step->read_slots && step->checkpoint_slot))
        status = gdn_fail(&error, GDN_EINVAL, "slots, read_slots or checkpoint_slot = NULL, want all three");
    if (!status) status = gdn_step_check_values(step, limits, &error);
    if (!status) status = gdn_step_check_slots(step, limits, &error);
    if (!status) status = gdn_step_check_size(&layout, out, size, &error);
    if (status) return gdn_record_refuse(&error, status, why, why_size);
    return gdn_step_seal(step, &layout, out);
}

static gdn_status unpack(const void *record, int64_t bytes, const gdn_hello *limits, gdn_step_record *step,
                         gdn_error *error)
{
    const gdn_record_head *head = record;
    gdn_step_layout layout;
    gdn_status status = gdn_record_doubt(record, bytes, GDN_STEP_MAGIC, error);
    if (!status) status = gdn_record_unused(head, NUM_FIELDS, error);
    if (status) return status;
    *step = (gdn_step_record){ .number = head->number, .kind = head->kind };
#define X(name) step->name = head->fields[AT_##name];
    COUNTS(X)
#undef X
    status = gdn_step_check_counts(step, limits, error);
    if (status) return status;
    gdn_step_layout_make(&layout, step);
    if (layout.bytes != bytes)
        GDN_REFUSE(error, "a record of %lld bytes, want %lld by its counts", (long long)bytes,
                   (long long)layout.bytes);
    for (int a = 0; a < GDN_NUM_STEP_ARRAYS; a++)
        gdn_step_set_array(step, a, (const char *)record + layout.offset[a]);
    status = gdn_step_check_values(step, limits, error);
    if (!status) status = gdn_step_check_slots(step, limits, error);
    return status ? status : gdn_record_tail(head, layout.end, error);
}

gdn_status gdn_step_unpack(const void *record, int64_t bytes, const gdn_hello *limits, gdn_step_record *out, char *why,
                           size_t why_size)
{
    gdn_error error = { "out = NULL, want a place for the views" };
    gdn_step_record step;
    gdn_status status = out ? unpack(record, bytes, limits, &step, &error) : GDN_EINVAL;
    if (status) return gdn_record_refuse(&error, status, why, why_size);
    *out = step;
    return GDN_OK;
}
