/* The implementation of gdn_batch: its memory, and the step it describes. */
#ifndef GDN_BATCH_H
#define GDN_BATCH_H

#include "input/step.h"

/* owner: the serial number of the builder that the batch is for. */
gdn_status gdn_batch_make(const gdn_settings *settings, uint64_t owner, gdn_batch **out);

/* Checks owner, guards and counts, makes the padding rows, and describes the batch. */
gdn_status gdn_batch_step(gdn_batch *batch, uint64_t owner, const gdn_table *tables, gdn_step *out, gdn_error *error);

#endif
