/* A CUDA device: construction, memory and reads; launches are in cuda_launch.c. */
#include "cuda/cuda_device.h"

#include "base/fork_count.h"

#include <stdlib.h>
#include <string.h>

static gdn_status reserve(gdn_device *device, size_t bytes, uint64_t *memory, gdn_error *error)
{
    gdn_cuda *d = (gdn_cuda *)device;
    int pushed;
    gdn_status status = gdn_cuda_enter(d, &pushed, error);
    if (status) return status;
    gdn_cu r = d->driver.cuMemAlloc(&d->reserved, bytes);
    if (r) status = gdn_driver_fail(&d->driver, error, r, "cuMemAlloc of %zu bytes for verification", bytes);
    r = status ? 0 : d->driver.cuMemsetD8Async(d->reserved, 0, bytes, NULL);
    if (r) status = gdn_driver_fail(&d->driver, error, r, "cuMemsetD8Async of %zu bytes", bytes);
    r = status ? 0 : d->driver.cuStreamSynchronize(NULL);
    if (r) status = gdn_driver_fail(&d->driver, error, r, "cuStreamSynchronize");
    *memory = d->reserved;
    return gdn_cuda_leave(d, pushed, status, error);
}

static gdn_status read(gdn_device *device, void *to, const void *from, size_t bytes, gdn_error *error)
{
    gdn_cuda *d = (gdn_cuda *)device;
    int pushed;
    gdn_status status = gdn_cuda_enter(d, &pushed, error);
    if (status) return status;
    status = gdn_cuda_refuse_capturing(d, d->stream, "read before the capture begins", error);
    gdn_cu r = status ? 0 : d->driver.cuMemcpyDtoHAsync(to, (uint64_t)(uintptr_t)from, bytes, d->stream);
    if (r) status = gdn_driver_fail(&d->driver, error, r, "cuMemcpyDtoHAsync of %zu bytes", bytes);
    r = status ? 0 : d->driver.cuStreamSynchronize(d->stream);
    if (r) status = gdn_driver_fail(&d->driver, error, r, "cuStreamSynchronize");
    d->common.counters.reads += !status;
    if (status) d->payload.filled_from = NULL; /* what came before may have failed */
    return gdn_cuda_leave(d, pushed, status, error);
}

static gdn_status check_pointer(gdn_cuda *d, const void *memory, const char *name, gdn_error *error)
{
    uint32_t type = 0;
    int32_t ordinal = d->common.ordinal;
    uint64_t pointer = (uint64_t)(uintptr_t)memory;
    gdn_cu r = d->driver.cuPointerGetAttribute(&type, GDN_CU_POINTER_MEMORY_TYPE, pointer);
    if (r == GDN_CU_INVALID_VALUE)
        return gdn_fail(error, GDN_EINVAL, "%s = %p is no memory that CUDA knows, want memory of cuda:%d", name, memory,
                        d->common.ordinal);
    if (r) GDN_DRIVER_FAIL(&d->driver, error, r, "cuPointerGetAttribute of %s", name);
    if (type != GDN_CU_MEMORY_DEVICE)
        return gdn_fail(error, GDN_EINVAL, "%s = %p is host memory, want memory of cuda:%d", name, memory,
                        d->common.ordinal);
    r = d->driver.cuPointerGetAttribute(&ordinal, GDN_CU_POINTER_DEVICE_ORDINAL, pointer);
    if (r) GDN_DRIVER_FAIL(&d->driver, error, r, "cuPointerGetAttribute of %s", name);
    if (ordinal != d->common.ordinal)
        return gdn_fail(error, GDN_EINVAL, "%s = %p is memory of cuda:%d, want cuda:%d", name, memory, ordinal,
                        d->common.ordinal);
    return GDN_OK;
}

static gdn_status check(gdn_device *device, const void *memory, const char *name, gdn_error *error)
{
    gdn_cuda *d = (gdn_cuda *)device;
    int pushed;
    gdn_status status = gdn_cuda_enter(d, &pushed, error);
    return status ? status : gdn_cuda_leave(d, pushed, check_pointer(d, memory, name, error), error);
}

static void poison(gdn_device *device, gdn_arena *arena)
{
    gdn_cuda *d = (gdn_cuda *)device;
    gdn_error ignored;
    int pushed;
    char *bytes = malloc(arena->bytes);
    d->payload.filled_from = NULL;
    if (bytes && !gdn_cuda_enter(d, &pushed, &ignored)) {
        memset(bytes, 0xa5, arena->bytes);
        (void)d->driver.cuMemcpyHtoDAsync(d->arena, bytes, arena->bytes, d->stream);
        (void)d->driver.cuStreamSynchronize(d->stream);
        (void)gdn_cuda_leave(d, pushed, GDN_OK, &ignored);
    }
    free(bytes);
}

static gdn_status allocate(gdn_device *device, gdn_arena *arena, gdn_error *error)
{
    gdn_cuda *d = (gdn_cuda *)device;
    int pushed;
    gdn_status status = gdn_cuda_enter(d, &pushed, error);
    if (status) return status;
    gdn_cu r = d->driver.cuMemAlloc(&d->arena, arena->bytes);
    if (r) status = gdn_driver_fail(&d->driver, error, r, "cuMemAlloc of %zu bytes of outputs", arena->bytes);
    arena->base = (char *)(uintptr_t)d->arena;
    gdn_arena_doubt(arena); /* the memory is whatever it was */
    return gdn_cuda_leave(d, pushed, status, error);
}

/* Calls may fail here, also with what an earlier launch did: there is nothing left to do about it. */
static void release(gdn_device *device)
{
    gdn_cuda *d = (gdn_cuda *)device;
    gdn_error ignored;
    int pushed = 0;
    int ours = !gdn_device_is_ours(&d->common, &ignored); /* else the parent gives it all back */
    if (ours && d->context) {
        if (gdn_cuda_enter(d, &pushed, &ignored)) pushed = !d->driver.cuCtxPushCurrent(d->context);
        if (d->arena) (void)d->driver.cuMemFree(d->arena); /* waits for the fills that write it */
        if (d->staging) (void)d->driver.cuMemFree(d->staging);
        if (d->reserved) (void)d->driver.cuMemFree(d->reserved);
        gdn_ring_free(&d->ring, &d->driver);
        if (d->module) (void)d->driver.cuModuleUnload(d->module);
        (void)gdn_cuda_leave(d, pushed, GDN_OK, &ignored);
    }
    if (ours && d->retained) (void)d->driver.cuDevicePrimaryCtxRelease(d->device);
    gdn_payload_free(&d->payload);
    free(d);
}

gdn_status gdn_device_cuda_copy_ring(gdn_device *device, gdn_error *error)
{
    gdn_cuda *d = (gdn_cuda *)device;
    int pushed;
    gdn_status status = gdn_cuda_enter(d, &pushed, error);
    if (status) return status;
    gdn_cu r = d->driver.cuMemAlloc(&d->staging, d->ring.buffer_bytes);
    if (r) status = gdn_driver_fail(&d->driver, error, r, "cuMemAlloc of %zu bytes", d->ring.buffer_bytes);
    return gdn_cuda_leave(d, pushed, status, error);
}

static gdn_status prepare(gdn_cuda *d, const gdn_settings *settings, int *absent, gdn_error *error)
{
    gdn_payload *y = &d->payload;
    if (gdn_payload_new(y, settings)) return gdn_fail(error, GDN_ENOMEM, "no memory for payloads");
    gdn_status status = gdn_cuda_load_kernels(d, absent, error);
    if (!status) status = gdn_ring_new(&d->ring, &d->driver, gdn_payload_sizes_of(settings).in_ring, error);
    if (!status) status = gdn_cuda_warm_up(d, error);
    d->common.faults = (volatile int32_t *)(void *)d->ring.memory;
    d->common.found = (volatile uint64_t *)(void *)(d->ring.memory + GDN_RING_FOUND);
    return status;
}

gdn_status gdn_device_cuda_open(const gdn_settings *settings, int32_t ordinal, gdn_device **out, int *absent,
                                gdn_error *error)
{
    int count = 0, pushed = 0;
    gdn_cuda *d = calloc(1, sizeof *d);
    if (!d) return gdn_fail(error, GDN_ENOMEM, "no memory for a device");
    d->common = (gdn_device){ .allocate = allocate,
                              .fill = gdn_cuda_fill,
                              .skip = gdn_cuda_skip,
                              .read = read,
                              .check = check,
                              .reserve = reserve,
                              .verify = gdn_cuda_verify,
                              .check_pool = gdn_cuda_check_pool,
                              .bring = gdn_cuda_bring,
                              .lend = gdn_cuda_lend,
                              .take_back = gdn_cuda_take_back,
                              .send = gdn_cuda_send,
                              .poison = poison,
                              .release = release,
                              .holders = 1 };
    gdn_status status = gdn_fork_count_watch() ? gdn_fail(error, GDN_ENOMEM, "no memory to watch for forks") : GDN_OK;
    d->common.fork_count = gdn_fork_count();
    if (!status) status = gdn_cuda_find_devices(d, &count, absent, error);
    if (!status) status = gdn_cuda_choose_context(d, ordinal, count, error);
    if (!status) status = gdn_cuda_enter(d, &pushed, error);
    if (!status) status = gdn_cuda_leave(d, pushed, prepare(d, settings, absent, error), error);
    if (status) {
        gdn_device_drop(&d->common);
        return status;
    }
    *out = &d->common;
    return GDN_OK;
}

size_t gdn_device_cuda_bytes(const gdn_settings *settings)
{
    gdn_payload_sizes sizes = gdn_payload_sizes_of(settings);
    return sizeof(gdn_cuda) + sizes.memory + gdn_ring_bytes(sizes.in_ring);
}
