/* Where the arrays of a step record lie. */
#ifndef GDN_STEP_LAYOUT_H
#define GDN_STEP_LAYOUT_H

#include "worker/record.h"

/* X(array of gdn_step_record, bytes of an element, how many: of ROWS .. COPIES). Those of 8 bytes come first. */
#define GDN_STEP_ARRAYS(X)         \
    X(request, 8, ROWS)            \
    X(seed, 8, ROWS)               \
    X(query_len, 4, ROWS)          \
    X(seq_len, 4, ROWS)            \
    X(drafts, 4, ROWS)             \
    X(accepted_tokens, 4, ROWS)    \
    X(prompt_done, 4, ROWS)        \
    X(table_row, 4, ROWS)          \
    X(read_column, 4, ROWS)        \
    X(checkpoint_len, 4, ROWS)     \
    X(samples, 4, ROWS)            \
    X(temperature, 4, ROWS)        \
    X(top_p, 4, ROWS)              \
    X(slots, 4, WINDOWS)           \
    X(read_slots, 4, GROUPS)       \
    X(checkpoint_slot, 4, GROUPS)  \
    X(tokens, 4, TOKENS)           \
    X(table_changes, 4, CHANGES)   \
    X(kv_copies, 4, COPIES)

#define X(name, bytes, count) GDN_AT_##name,
enum { GDN_STEP_ARRAYS(X) GDN_NUM_STEP_ARRAYS };
#undef X

typedef struct gdn_step_layout {
    int64_t offset[GDN_NUM_STEP_ARRAYS], elements[GDN_NUM_STEP_ARRAYS];
    int64_t end, bytes; /* of the last array, and of the record: a multiple of 8 */
} gdn_step_layout;

extern const char *const GDN_STEP_ARRAY_NAMES[GDN_NUM_STEP_ARRAYS];

/* Counts of `step` must be within the ranges that gdn_step_check_counts allows: sums are of 64 bits. */
void gdn_step_layout_make(gdn_step_layout *layout, const gdn_step_record *step);

/* The pointer of array `a`. */
const void *gdn_step_array(const gdn_step_record *step, int a);
void gdn_step_set_array(gdn_step_record *step, int a, const void *array);
int32_t gdn_step_element_bytes(int a);

/* Columns of a step's window. */
static inline int32_t gdn_step_columns(const gdn_config *c)
{
    int32_t windowed = c->mamba_cache_mode == GDN_CACHE_ALIGN ||
                       (c->rules == GDN_RULES_VLLM_2026_11 && c->mamba_cache_mode == GDN_CACHE_ALL);
    return 1 + (windowed ? c->num_speculative_blocks : c->num_speculative_tokens);
}

/* Kind, counts and ranges of a step, before anything is read through its pointers. */
gdn_status gdn_step_check_counts(const gdn_step_record *step, const gdn_hello *limits, gdn_error *error);

/* The values of its arrays; not those of `slots`, `read_slots` and `checkpoint_slot`, see the next. */
gdn_status gdn_step_check_values(const gdn_step_record *step, const gdn_hello *limits, gdn_error *error);
gdn_status gdn_step_check_slots(const gdn_step_record *step, const gdn_hello *limits, gdn_error *error);

#endif
