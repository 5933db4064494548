/* A builder's parts, in the order a step passes through them. */
#ifndef GDN_BUILDER_H
#define GDN_BUILDER_H

#include "input/batch.h"
#include "builder/repeat.h"
#include "builder/verifier.h"
#include "device/device.h"
#include "strict/strict.h"
#include "fill/metadata.h"
#include "input/vllm_arguments.h"
#include "input/device_inputs.h"

#ifdef GDN_DEBUG
#include <stdatomic.h>
#endif

struct gdn_builder {
    gdn_settings settings;
    uint64_t serial;                            /* tells this builder's batches from another's */
    gdn_table tables[GDN_MAX_GROUPS];           /* what builds read: own_tables or the host's */
    int32_t *own_tables[GDN_MAX_GROUPS];        /* guarded */
    gdn_vllm_rows raw;
    gdn_device_inputs device_inputs;
    gdn_partition partition;
    gdn_state_indices indices;
    gdn_uniqueness uniqueness;
    int32_t skip_strict;                      /* for the bench alone: what do the strict checks cost? */
    gdn_arena arena;
    gdn_device *device;
    gdn_repeat repeat;                        /* CUDA: the CPU's outputs are written as soon as compared */
    gdn_metadata metadata;
    gdn_verifier verifier;
    gdn_error error;
#ifdef GDN_DEBUG
    atomic_int busy; /* a thread is using it, see one_thread.h */
#endif
};

/* Builds read the builder's own table of group g again. */
void gdn_use_own_table(gdn_builder *b, int32_t g);

#endif
