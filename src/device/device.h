/* What a device must do for a builder. The CPU's is the plainest; a GPU's hides its driver. */
#ifndef GDN_DEVICE_H
#define GDN_DEVICE_H

#include "fill/arena.h"
#include "verify/verify_input.h"
#include "fill/fill_inputs.h"
#include "bring/bring_plan.h"

typedef struct gdn_device gdn_device;

struct gdn_device {
    /* Memory for arena->bytes, owned by the device until release. */
    gdn_status (*allocate)(gdn_device *device, gdn_arena *arena, gdn_error *error);
    /* Write the outputs of an accepted step, in order on `stream`. */
    gdn_status (*fill)(gdn_device *device, gdn_arena *arena, const gdn_fill_inputs *inputs, void *stream,
                       gdn_error *error);
    /* Would the last fill's step, filled again on `stream`, be skipped? Then counts it as such. NULL on the CPU, which
     * skips no fill: it writes hardly more than it would compare. */
    int (*skip)(gdn_device *device, void *stream);
    /* Copy part of the arena to the host, after the last fill. */
    gdn_status (*read)(gdn_device *device, void *to, const void *from, size_t bytes, gdn_error *error);
    /* Can kernels of this device read `memory`? `name` is what a refusal calls it. */
    gdn_status (*check)(gdn_device *device, const void *memory, const char *name, gdn_error *error);
    /* Zeroed memory of the device, owned by it until release; at most once. */
    gdn_status (*reserve)(gdn_device *device, size_t bytes, uint64_t *memory, gdn_error *error);
    /* Check the outputs of the last fill, in order on `stream`; sets input->found. */
    gdn_status (*verify)(gdn_device *device, gdn_verify_input *input, void *stream, gdn_error *error);
    /* Can kernels of this device write `bytes` at `memory`, as far as is known? `name` is what a refusal calls it. */
    gdn_status (*check_pool)(gdn_device *device, const void *memory, size_t bytes, const char *name, gdn_error *error);
    /* Bring states or windows, in order on `stream`. */
    gdn_status (*bring)(gdn_device *device, const gdn_bring_plan *plan, void *stream, gdn_error *error);
    /* Memory beside all this, its caller's until it is taken back; *memory is 0 where the host's will do. */
    gdn_status (*lend)(gdn_device *device, size_t bytes, uint64_t *memory, gdn_error *error);
    void (*take_back)(gdn_device *device, uint64_t memory);
    /* Copy from the host to lent memory, in order on `stream`; the host may change its own at once. NULL on the CPU,
     * which lends none. */
    gdn_status (*send)(gdn_device *device, uint64_t to, const void *from, size_t bytes, void *stream, gdn_error *error);
    /* Overwrite all outputs, for tests. */
    void (*poison)(gdn_device *device, gdn_arena *arena);
    void (*release)(gdn_device *device); /* by the last holder, on any thread */
    _Atomic int64_t holders; /* the builder, and each export of its tensors */
    int32_t ordinal;         /* GDN_DEVICE_CPU, or the CUDA device's number */
    volatile int32_t *faults; /* [GDN_NUM_FAULTS] written by finished fills, see kernel_params.h; NULL on the CPU */
    volatile uint64_t *found; /* the first violation that finished checks have found, see verify_atomic.h; 0: none */
    gdn_counters counters;
    uint32_t
        fork_count; /* what gdn_fork_count gave when it was opened, for devices that do not survive one; else unused */
};

/* The device that a configuration names. Errors: GDN_EDEVICE, GDN_ENOMEM. */
gdn_status gdn_device_open(const gdn_settings *settings, gdn_device **out, gdn_error *error);

/* A holder keeps the outputs' memory where it is. The last one to drop the device frees it, with all it has. */
void gdn_device_hold(gdn_device *device);
void gdn_device_drop(gdn_device *device);

/* What such a device allocates in addition to the arena. */
size_t gdn_device_bytes(const gdn_settings *settings);
size_t gdn_device_cpu_bytes(void);
size_t gdn_device_cuda_bytes(const gdn_settings *settings);

/* A driver's handles are worth nothing in a child of the process that got them. Errors: GDN_EDEVICE. */
gdn_status gdn_device_is_ours(const gdn_device *device, gdn_error *error);

gdn_status gdn_device_cpu_open(gdn_device **out);

/* ordinal: GDN_DEVICE_AUTO takes the device of the current context, else the first. *absent: there is nothing
 * here that could be a CUDA device, so that a builder which asked for any takes the CPU. */
gdn_status gdn_device_cuda_open(const gdn_settings *settings, int32_t ordinal, gdn_device **out, int *absent,
                                gdn_error *error);

/* Does a CUDA driver that the process has loaded know `memory` as a device's? */
int gdn_cuda_owns(const void *memory);

/* For the bench alone: from now on a payload that no launch holds is copied to the device, not read in place. */
gdn_status gdn_device_cuda_copy_ring(gdn_device *device, gdn_error *error);

#endif
