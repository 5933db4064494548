/* States that a prefill keeps before its end, for a prefix cache: which rows keep one, where, and the launch plan.
 * Rules vllm-2026-11 find them, under strict the rows say. */
#ifndef GDN_CHECKPOINTS_H
#define GDN_CHECKPOINTS_H

#include "partition/partition.h"

/* Fills the partition's checkpoint fields, after everything else of it is known. Refuses rows that ask for one where
 * the rules have none. */
gdn_status gdn_checkpoints_find(gdn_partition *p, const gdn_settings *settings, const gdn_step *step, gdn_error *error);

#endif
