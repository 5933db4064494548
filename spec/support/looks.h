/* How far the looks at whole blocks of rows get, each by itself, and whether rows were listed. A look that gives up
 * early changes no output: what is behind is looked at one by one. Part of counted.c. */
#include "builder/builder.h"
#include "strict/strict.h"

#define gdn_strict_rows looks_strict_rows
#define gdn_strict_slots looks_strict_slots
#include "../../src/strict/strict_rows.c"
#include "../../src/strict/strict_slots.c"
#undef gdn_strict_rows
#undef gdn_strict_slots

#define gdn_scan_rows looks_scan_rows
#define gdn_find_one looks_find_one
#define gdn_find_negative looks_find_negative
#define gdn_any_bits looks_any_bits
#define gdn_are_within looks_are_within
#define gdn_repeat_length looks_repeat_length
#include "../../src/partition/scan_rows.c"

/* Rows that strict takes for ordinary decodes. arrays: query_len, seq_len, num_draft_tokens, num_accepted_tokens,
 * prompt_done, read columns. bounds: those of `limits`, in its order. */
__attribute__((visibility("default"))) int32_t gdn_counted_ordinary(const int32_t *const arrays[6],
                                                                    const int32_t bounds[5], int32_t rows)
{
    gdn_step step = { .query_len = arrays[0], .seq_len = arrays[1], .num_draft_tokens = arrays[2],
                      .num_accepted_tokens = arrays[3], .prompt_done = arrays[4] };
    limits l = { bounds[0], bounds[1], bounds[2], bounds[3], bounds[4] };
    return count_ordinary(&l, &step, arrays[5], rows);
}

/* Rows all of whose slots strict takes for good, `columns` to write and one to read. */
__attribute__((visibility("default"))) int32_t gdn_counted_good(const int32_t *write, const int32_t *read, int32_t rows,
                                                                int32_t columns, int32_t reads_back, int32_t slots)
{
    gdn_slot_users k = { write, read, NULL, rows, columns, reads_back };
    return find_doubtful(&k, slots);
}

/* Values in blocks of which none is 1 (wanted), or all are. */
__attribute__((visibility("default"))) int32_t gdn_counted_far(const int32_t *values, int32_t n, int32_t wanted)
{
    return skip_far(values, n, wanted);
}

/* Values in blocks of which none is negative. */
__attribute__((visibility("default"))) int32_t gdn_counted_unsigned(const int32_t *values, int32_t n)
{
    return skip_unsigned(values, n);
}

/* Did the last step list its speculative rows? */
__attribute__((visibility("default"))) int32_t gdn_counted_listed(const gdn_builder *b)
{
    return b->partition.spec_rows != NULL;
}

/* Of a builder's output buffers: where `field` lies, and how far its padding is written. -1: there is no such field. */
__attribute__((visibility("default"))) int64_t gdn_counted_buffer(const gdn_builder *b, int32_t field, int32_t what)
{
    const gdn_arena *a = &b->arena;
    if (field >= GDN_NUM_FIELDS) return -1;
    return what == 0 ? a->capacity[field] : what == 1 ? (int64_t)a->offset[field] : (int64_t)a->group_stride[field];
}

__attribute__((visibility("default"))) int32_t gdn_counted_pad(gdn_builder *b, int32_t field, int32_t filled,
                                                               int32_t length)
{
    return gdn_arena_pad_end(&b->arena, (gdn_field)field, filled, length);
}

__attribute__((visibility("default"))) int32_t gdn_counted_pad_of(gdn_builder *b, int32_t field, int32_t filled,
                                                                  int32_t length, int64_t value)
{
    return gdn_arena_pad_end_of(&b->arena, (gdn_field)field, filled, length, value);
}

__attribute__((visibility("default"))) void gdn_counted_doubt(gdn_builder *b)
{
    gdn_arena_doubt(&b->arena);
}

/* Where the buffers begin, and how many bytes they are. */
__attribute__((visibility("default"))) const char *gdn_counted_buffers(const gdn_builder *b, int64_t *bytes)
{
    *bytes = (int64_t)b->arena.bytes;
    return b->arena.base;
}
