/* Comparing a step with the one before: rows first, then the slots that its tables have now. */
#include "builder/repeat.h"

#include <stdlib.h>
#include <string.h>

/* Arrays that are compared as they are. Lengths, the last of the arrays that are kept, are compared by what they tell:
 * nothing computed, something computed, or less than nothing. */
#define AS_THEY_ARE(X)                                                                     \
    X(query_len) X(num_draft_tokens) X(num_accepted_tokens) X(prompt_done) X(table_row)     \
    X(read_column)

enum {
#define X(name) AT_##name,
    AS_THEY_ARE(X)
#undef X
    AT_progress,
    NUM_ARRAYS
};
_Static_assert((int)NUM_ARRAYS == (int)GDN_REPEAT_ARRAYS, "repeat.h: GDN_REPEAT_ARRAYS is the number of arrays here");

size_t gdn_repeat_bytes(const gdn_settings *settings, size_t slots)
{
    return (NUM_ARRAYS * (size_t)settings->config.max_rows + (size_t)settings->config.num_groups * slots) *
           sizeof(int32_t);
}

gdn_status gdn_repeat_new(gdn_repeat *r, const gdn_settings *settings, const gdn_state_indices *indices)
{
    r->rows = calloc(1, gdn_repeat_bytes(settings, indices->group_stride));
    if (!r->rows) return GDN_ENOMEM;
    r->slots = r->rows + NUM_ARRAYS * (size_t)settings->config.max_rows;
    return GDN_OK;
}

void gdn_repeat_free(gdn_repeat *r)
{
    free(r->rows);
}

static inline int32_t progress_of(const gdn_step *step, int32_t i)
{
    return (step->seq_len[i] > step->query_len[i]) - (step->seq_len[i] < step->query_len[i]);
}

/* Windows and the checkpoints of vllm-2026-11 move with lengths, memory of the device may have changed, and padding
 * that the host wrote itself has slots that are looked at, but kept nowhere. */
static int can_be_compared(const gdn_settings *settings, const gdn_partition *p, const gdn_step *step)
{
    int on_device = step->device_seq_lens || step->device_accepted;
    for (int32_t g = 0; g < settings->config.num_groups; g++) on_device |= step->tables[g].on_device;
    int written_padding = settings->config.rules == GDN_RULES_STRICT && p->rows != step->table_rows;
    return !settings->windowed && !step->null_slots && !on_device && !p->has_checkpoints && !p->checkpoints_asked &&
           !written_padding;
}

static int32_t own_rows(const gdn_step *step)
{
    return step->own ? step->own[0].rows : 0;
}

void gdn_repeat_keep(gdn_repeat *r, const gdn_settings *settings, const gdn_partition *p, const gdn_step *step)
{
    size_t most = (size_t)settings->config.max_rows, bytes = (size_t)step->rows * sizeof(int32_t);
    r->kept = can_be_compared(settings, p, step);
    if (!r->kept) return;
    r->step = *step;
    r->columns = step->tables[0].cols;
    r->own_rows = own_rows(step);
    for (int32_t g = 0; g < settings->config.num_groups; g++) r->table_rows[g] = step->tables[g].rows;
#define X(name) memcpy(r->rows + AT_##name * most, step->name, bytes);
    AS_THEY_ARE(X)
#undef X
    for (int32_t i = 0; i < step->rows; i++) r->rows[AT_progress * most + (size_t)i] = progress_of(step, i);
}

static int are_numbers_the_same(const gdn_repeat *r, const gdn_settings *settings, const gdn_step *step)
{
    const gdn_step *k = &r->step;
    int same = k->rows == step->rows && k->table_rows == step->table_rows && k->num_reqs == step->num_reqs &&
               k->num_actual_tokens == step->num_actual_tokens && k->max_query_len == step->max_query_len &&
               k->from_batch == step->from_batch && k->accepted_rows == step->accepted_rows && !step->null_slots &&
               !step->device_seq_lens && !step->device_accepted;
    if (!same || step->tables[0].cols != r->columns || own_rows(step) != r->own_rows) return 0;
    int32_t g = 0, groups = settings->config.num_groups;
    while (g < groups && !step->tables[g].on_device && step->tables[g].rows == r->table_rows[g]) g++;
    return g == groups;
}

static int are_rows_the_same(const gdn_repeat *r, const gdn_settings *settings, const gdn_step *step)
{
    size_t most = (size_t)settings->config.max_rows, bytes = (size_t)step->rows * sizeof(int32_t);
#define X(name) \
    if (memcmp(r->rows + AT_##name * most, step->name, bytes)) return 0;
    AS_THEY_ARE(X)
#undef X
    const int32_t *progress = r->rows + AT_progress * most;
    int32_t odd = 0;
    for (int32_t i = 0; i < step->rows; i++) odd |= progress[i] ^ progress_of(step, i);
    for (int32_t i = 0; step->checkpoint_len && i < step->table_rows; i++) odd |= step->checkpoint_len[i];
    return !odd;
}

/* The stretches of a group's slots that outputs are made of. */
static int are_slots_the_same(const int32_t *a, const int32_t *b, const gdn_state_indices *at,
                              const gdn_settings *settings, const gdn_partition *p)
{
    size_t spec = (size_t)p->num_spec, rest = (size_t)p->num_non_spec, element = sizeof(int32_t);
    int has_rest = !p->speculative || p->mixed, strict = settings->config.rules == GDN_RULES_STRICT;
    if (memcmp(a, b, spec * (size_t)p->state_columns * element)) return 0;
    if (has_rest && memcmp(&a[at->non_spec], &b[at->non_spec], rest * element)) return 0;
    if (strict && memcmp(&a[at->spec_read], &b[at->spec_read], spec * element)) return 0;
    return !strict || !has_rest || !memcmp(&a[at->non_spec_read], &b[at->non_spec_read], rest * element);
}

int gdn_repeat_is(gdn_repeat *r, const gdn_settings *settings, const gdn_partition *p, const gdn_state_indices *indices,
                  const gdn_step *step)
{
    if (!r->kept || !are_numbers_the_same(r, settings, step) || !are_rows_the_same(r, settings, step)) return 0;
    gdn_state_indices now = *indices;
    now.slots = r->slots;
    gdn_state_indices_gather(&now, settings, p, step);
    size_t at = 0, end = (size_t)settings->config.num_groups * indices->group_stride;
    while (at < end && are_slots_the_same(&indices->slots[at], &r->slots[at], indices, settings, p))
        at += indices->group_stride;
    return at == end;
}
