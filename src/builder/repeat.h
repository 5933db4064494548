/* Is a step the last one again? In most steps of a run of decodes lengths grow and nothing else changes, and of a
 * length the outputs say only whether something was computed before. Such a step is known before it is partitioned. */
#ifndef GDN_REPEAT_H
#define GDN_REPEAT_H

#include "partition/state_indices.h"

enum { GDN_REPEAT_ARRAYS = 7 };

typedef struct gdn_repeat {
    int32_t *rows;  /* [GDN_REPEAT_ARRAYS, max_rows] arrays of the step that is kept */
    int32_t *slots; /* as gdn_state_indices has them, of the step that may be the same */
    gdn_step step;  /* the step that is kept: its numbers */
    int32_t table_rows[GDN_MAX_GROUPS], columns, own_rows;
    int32_t kept;   /* 0: none, or what a builder knows of it was overwritten */
} gdn_repeat;

gdn_status gdn_repeat_new(gdn_repeat *r, const gdn_settings *settings, const gdn_state_indices *indices);
void gdn_repeat_free(gdn_repeat *r);
size_t gdn_repeat_bytes(const gdn_settings *settings, size_t slots);

/* Keeps the step that partition and indices are of, if another one can be compared with it at all: a step that was
 * accepted, with outputs in place. */
void gdn_repeat_keep(gdn_repeat *r, const gdn_settings *settings, const gdn_partition *p, const gdn_step *step);

/* Would the outputs be the same? Partition and indices are still those of the step that is kept. */
int gdn_repeat_is(gdn_repeat *r, const gdn_settings *settings, const gdn_partition *p, const gdn_state_indices *indices,
                  const gdn_step *step);

#endif
