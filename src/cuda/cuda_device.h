/* A CUDA device from within: what cuda_context.c, cuda_launch.c and cuda_device.c share. */
#ifndef GDN_CUDA_DEVICE_H
#define GDN_CUDA_DEVICE_H

#include "cuda/cuda_driver.h"
#include "cuda/cuda_ring.h"
#include "device/device.h"
#include "cuda/pack_launch.h"

enum { GDN_CUDA_KERNELS = 3 }; /* one per size of parameters */

typedef struct gdn_cuda {
    gdn_device common; /* first: a gdn_device * is a gdn_cuda * */
    gdn_driver driver;
    int device;      /* the driver's handle */
    void *context;
    int retained;    /* the primary context, held by us; else the caller's, which must outlive the builder */
    void *module, *kernels[GDN_CUDA_KERNELS];
    void *verify_kernel; /* the kernel that checks */
    void *bring_kernels[2]; /* those that bring states, and windows */
    uint64_t arena;
    uint64_t reserved;
    gdn_ring ring;
    uint64_t staging; /* for the bench alone: the ring's payloads are copied here instead of read in place */
    gdn_payload payload;
    void *stream;    /* of the last fill */
    uint64_t stream_id; /* its number, where payload.filled_from says that a fill is known: handles come again */
} gdn_cuda;

/* Makes the builder's context current; *pushed says that leave has something to take back. */
gdn_status gdn_cuda_enter(gdn_cuda *d, int *pushed, gdn_error *error);
gdn_status gdn_cuda_leave(gdn_cuda *d, int pushed, gdn_status status, gdn_error *error);

/* Is there a driver that can run us, and a device? *absent where there is not. */
gdn_status gdn_cuda_find_devices(gdn_cuda *d, int *count, int *absent, gdn_error *error);
/* The current context where it is on the wanted device, or on any if none is named; else the primary one. */
gdn_status gdn_cuda_choose_context(gdn_cuda *d, int32_t ordinal, int count, gdn_error *error);

/* *absent: the library has no kernel. */
gdn_status gdn_cuda_load_kernels(gdn_cuda *d, int *absent, gdn_error *error);
/* An empty launch now, waited for, so that no step pays for what the driver does at the first one. */
gdn_status gdn_cuda_warm_up(gdn_cuda *d, gdn_error *error);
/* A launch or a wait on such a stream would become part of the graph. */
gdn_status gdn_cuda_refuse_capturing(gdn_cuda *d, void *stream, const char *advice, gdn_error *error);

gdn_status gdn_cuda_fill(gdn_device *device, gdn_arena *arena, const gdn_fill_inputs *inputs, void *stream,
                         gdn_error *error);
int gdn_cuda_skip(gdn_device *device, void *stream);
gdn_status gdn_cuda_verify(gdn_device *device, gdn_verify_input *input, void *stream, gdn_error *error);
gdn_status gdn_cuda_bring(gdn_device *device, const gdn_bring_plan *plan, void *stream, gdn_error *error);
gdn_status gdn_cuda_check_pool(gdn_device *device, const void *memory, size_t bytes, const char *name,
                               gdn_error *error);
gdn_status gdn_cuda_lend(gdn_device *device, size_t bytes, uint64_t *memory, gdn_error *error);
void gdn_cuda_take_back(gdn_device *device, uint64_t memory);
gdn_status gdn_cuda_send(gdn_device *device, uint64_t to, const void *from, size_t bytes, void *stream,
                         gdn_error *error);

#endif
