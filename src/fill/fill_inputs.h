/* Everything a fill reads: all outputs are functions of it. */
#ifndef GDN_FILL_INPUTS_H
#define GDN_FILL_INPUTS_H

#include "partition/state_indices.h"

typedef struct gdn_fill_inputs {
    const gdn_settings *settings;
    const gdn_partition *partition;
    const gdn_state_indices *indices;
    const gdn_step *step;
} gdn_fill_inputs;

#endif
