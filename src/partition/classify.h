/* The class of each row, the counts, and the boundaries of either class. */
#ifndef GDN_CLASSIFY_H
#define GDN_CLASSIFY_H

#include "partition/partition.h"

/* Fills the first part of *p, up to the scalars of the metadata, or refuses. */
gdn_status gdn_classify(gdn_partition *p, const gdn_settings *settings, const gdn_step *step, gdn_error *error);

#endif
