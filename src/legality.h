/* The strict rules' refusals: what gdnmeta.h calls a legal batch is checked here and nowhere else. */
#ifndef GDN_LEGALITY_H
#define GDN_LEGALITY_H

#include "cells.h"

/* Marks slots already written in this step; generations spare the clearing. */
typedef struct gdn_uniqueness {
    uint32_t *seen;      /* [most slots of any group] */
    uint32_t generation;
    int32_t slots;
} gdn_uniqueness;

gdn_status gdn_uniqueness_new(gdn_uniqueness *u, const gdn_settings *settings);
void gdn_uniqueness_free(gdn_uniqueness *u);

/* Row fields and read columns; before any table is read. */
gdn_status gdn_legality_rows(const gdn_cells *cells, const gdn_settings *settings, const gdn_partition *p,
                             const gdn_step *step, gdn_error *error);

/* The slots that the rows name, after the gather. */
gdn_status gdn_legality_slots(const gdn_cells *cells, gdn_uniqueness *u, const gdn_settings *settings,
                              const gdn_partition *p, const gdn_step *step, gdn_error *error);

#endif
