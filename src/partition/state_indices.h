/* State slots of a step, read out of the tables once: checked here as contiguous arrays, then copied
 * or packed by the device. */
#ifndef GDN_STATE_INDICES_H
#define GDN_STATE_INDICES_H

#include "partition/partition.h"

typedef struct gdn_state_indices {
    int32_t *window;      /* [max_rows] first column of each row's `align` window */
    int32_t *read_column; /* [max_rows] strict: resolved; -1: fresh, GDN_READ_DEFAULT: unknown */
    int32_t any_reads_given;  /* some read_column was given, or cannot be implied */
    int32_t own_rows;     /* some row's blocks are the batch's own */
    int32_t *slots;       /* [num_groups, group_stride] */
    size_t group_stride;
    /* offsets within a group's slots, in front of which stand those that speculative rows write */
    size_t non_spec, spec_read, non_spec_read, checkpoint;
} gdn_state_indices;

gdn_status gdn_state_indices_new(gdn_state_indices *indices, const gdn_settings *settings);
void gdn_state_indices_free(gdn_state_indices *indices);

/* strict: finds the column of each row's current state, where the host left that to us. */
void gdn_state_indices_resolve_reads(gdn_state_indices *indices, const gdn_settings *settings, const gdn_partition *p,
                                     const gdn_step *step);

/* Checks that every table row and window is inside of its table, and finds the windows. */
gdn_status gdn_state_indices_locate(gdn_state_indices *indices, const gdn_settings *settings, const gdn_partition *p,
                                    const gdn_step *step, gdn_error *error);

/* Reads the slots of every group; cannot fail after gdn_state_indices_locate. */
void gdn_state_indices_gather(gdn_state_indices *indices, const gdn_settings *settings, const gdn_partition *p,
                              const gdn_step *step);

#endif
