/* State slots of a step, read out of the tables once: checked here as contiguous arrays, then copied
 * or packed by the device. */
#ifndef GDN_CELLS_H
#define GDN_CELLS_H

#include "partition/partition.h"

typedef struct gdn_cells {
    int32_t *window;      /* [max_rows] first column of each row's `align` window */
    int32_t *read_column; /* [max_rows] strict: resolved; -1: fresh, GDN_READ_DEFAULT: nobody can tell */
    int32_t reads_named;  /* some read_column was given, or cannot be implied */
    int32_t own_rows;     /* some row's cells are the batch's own */
    int32_t *slots;       /* [num_groups, group_stride] */
    size_t group_stride;
    /* offsets within a group's slots */
    size_t spec, non_spec, spec_read, non_spec_read, checkpoint;
} gdn_cells;

gdn_status gdn_cells_new(gdn_cells *cells, const gdn_settings *settings);
void gdn_cells_free(gdn_cells *cells);

/* strict: finds the column of each row's current state, where the host left that to us. */
void gdn_cells_resolve_reads(gdn_cells *cells, const gdn_settings *settings, const gdn_partition *p, const gdn_step *step);

/* Checks that every table row and window is inside of its table, and finds the windows. */
gdn_status gdn_cells_locate(gdn_cells *cells, const gdn_settings *settings, const gdn_partition *p, const gdn_step *step,
                            gdn_error *error);

/* Reads the slots of every group; cannot fail after gdn_cells_locate. */
void gdn_cells_gather(gdn_cells *cells, const gdn_settings *settings, const gdn_partition *p, const gdn_step *step);

#endif
