/* Offsets of a step record's arrays. */
#include "worker/step_layout.h"

#include <string.h>

enum { ROWS, WINDOWS, GROUPS, TOKENS, CHANGES, COPIES, NUM_COUNTS };

typedef struct array {
    size_t pointer; /* offset in gdn_step_record */
    int32_t bytes, count;
} array;

#define X(name, bytes, count) { offsetof(gdn_step_record, name), bytes, count },
static const array ARRAYS[GDN_NUM_STEP_ARRAYS] = { GDN_STEP_ARRAYS(X) };
#undef X
#define X(name, bytes, count) #name,
const char *const GDN_STEP_ARRAY_NAMES[GDN_NUM_STEP_ARRAYS] = { GDN_STEP_ARRAYS(X) };
#undef X

void gdn_step_layout_make(gdn_step_layout *layout, const gdn_step_record *step)
{
    int64_t rows = step->num_rows, groups = rows * step->num_groups;
    int64_t counts[NUM_COUNTS] = { rows, groups * step->columns, groups, step->num_tokens,
                                   3 * (int64_t)step->num_table_changes, 2 * (int64_t)step->num_kv_copies };
    int64_t at = (int64_t)sizeof(gdn_record_head);
    for (int a = 0; a < GDN_NUM_STEP_ARRAYS; a++) {
        layout->offset[a] = at;
        layout->elements[a] = counts[ARRAYS[a].count];
        at += layout->elements[a] * ARRAYS[a].bytes;
    }
    layout->end = at;
    layout->bytes = gdn_record_round(at);
}

const void *gdn_step_array(const gdn_step_record *step, int a)
{
    const void *pointer;
    memcpy(&pointer, (const char *)step + ARRAYS[a].pointer, sizeof pointer);
    return pointer;
}

void gdn_step_set_array(gdn_step_record *step, int a, const void *pointer)
{
    memcpy((char *)step + ARRAYS[a].pointer, &pointer, sizeof pointer);
}

int32_t gdn_step_element_bytes(int a)
{
    return ARRAYS[a].bytes;
}
