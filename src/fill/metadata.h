/* Views of the arena: which tensors a step has, and their shapes. */
#ifndef GDN_METADATA_H
#define GDN_METADATA_H

#include "fill/arena.h"
#include "partition/partition.h"

/* Describes an accepted step, as group 0 sees it. In a bucket every tensor's shape and address are the bucket's. */
void gdn_metadata_set(gdn_metadata *meta, const gdn_arena *arena, const gdn_settings *settings, const gdn_partition *p);

/* Moves the views of group 0 to those of `group`. */
void gdn_metadata_move(gdn_metadata *meta, const gdn_arena *arena, int32_t group);

#endif
