/* A CUDA device: one kernel launch a fill, its inputs inside the launch. Contexts are the caller's where
 * he has one; what a call makes current it takes back. */
#include "cuda_driver.h"
#include "cuda_ring.h"
#include "forks.h"
#include "image.h"
#include "payload.h"

#include <stdlib.h>
#include <string.h>

enum { KERNELS = 3 };

static const char *const KERNEL_NAMES[KERNELS] = { "gdn_fill_small", "gdn_fill_medium", "gdn_fill_large" };
static const size_t KERNEL_BYTES[KERNELS] = { GDN_SMALL, GDN_MEDIUM, GDN_LARGE };

typedef struct cuda {
    gdn_device face; /* first: a gdn_device * is a cuda * */
    gdn_driver driver;
    int device;      /* the driver's handle */
    void *context;
    int retained;    /* the primary context, held by us; else the caller's, which must outlive the builder */
    void *module, *kernels[KERNELS];
    void *inspector; /* the kernel that checks */
    uint64_t arena;
    uint64_t reserved;
    gdn_ring ring;
    uint64_t staging; /* for the bench alone: the ring's payloads are copied here instead of read in place */
    gdn_payload payload;
    void *stream;    /* of the last fill */
} cuda;

#define FAIL(result, ...) return gdn_driver_fail(&d->driver, error, result, __VA_ARGS__)

/* Makes the builder's context current; *pushed says that leave() has something to take back. */
static gdn_status enter(cuda *d, int *pushed, gdn_error *error)
{
    void *current = NULL;
    *pushed = 0;
    gdn_status ours = gdn_device_is_ours(&d->face, error);
    if (ours) return ours;
    gdn_cu r = d->driver.cuCtxGetCurrent(&current);
    if (r) FAIL(r, "cuCtxGetCurrent");
    if (current == d->context) return GDN_OK;
    if ((r = d->driver.cuCtxPushCurrent(d->context))) FAIL(r, "cuCtxPushCurrent");
    *pushed = 1;
    return GDN_OK;
}

static gdn_status leave(cuda *d, int pushed, gdn_status status, gdn_error *error)
{
    void *context = NULL;
    gdn_cu r = pushed ? d->driver.cuCtxPopCurrent(&context) : 0;
    if (r && !status) FAIL(r, "cuCtxPopCurrent");
    return status;
}

/* A launch or a wait on such a stream would become part of the graph. */
static gdn_status refuse_capturing(cuda *d, void *stream, const char *advice, gdn_error *error)
{
    int capturing = 0;
    gdn_cu r = d->driver.cuStreamIsCapturing(stream, &capturing);
    if (r) FAIL(r, "cuStreamIsCapturing");
    if (capturing) return gdn_fail(error, GDN_EINVAL, "stream is capturing: %s", advice);
    return GDN_OK;
}

static gdn_status launch(cuda *d, int kernel, uint32_t blocks, uint64_t ring, uint32_t room, void *stream, gdn_error *error)
{
    void *arguments[] = { d->payload.launch, &ring, &room };
    gdn_cu r = d->driver.cuLaunchKernel(d->kernels[kernel], blocks, 1, 1, GDN_THREADS, 1, 1, room, stream, arguments, NULL);
    if (r) FAIL(r, "cuLaunchKernel of %u blocks", blocks);
    d->face.counters.launches++;
    return GDN_OK;
}

/* The payload inside the launch: of the three sizes the smallest that holds it. */
static gdn_status fill_inside(cuda *d, void *stream, gdn_error *error)
{
    gdn_payload *y = &d->payload;
    int kernel = 0;
    while (y->packer.bytes > KERNEL_BYTES[kernel] - sizeof(gdn_head)) kernel++;
    gdn_payload_write(y, y->launch->payload);
    return launch(d, kernel, y->blocks, 0, y->room, stream, error);
}

static gdn_status fill_from_ring(cuda *d, void *stream, gdn_error *error)
{
    gdn_payload *y = &d->payload;
    int32_t buffer = 0;
    gdn_status status = gdn_ring_take(&d->ring, &d->driver, &buffer, &d->face.counters.ring_waits, error);
    if (status) return status;
    size_t offset = gdn_ring_offset(&d->ring, buffer);
    uint64_t payload = d->ring.device + offset;
    gdn_payload_write(y, (unsigned char *)d->ring.memory + offset);
    if (d->staging) {
        gdn_cu r = d->driver.cuMemcpyHtoDAsync(d->staging, d->ring.memory + offset, y->packer.bytes, stream);
        if (r) FAIL(r, "cuMemcpyHtoDAsync of %zu bytes", y->packer.bytes);
        payload = d->staging;
    }
    status = launch(d, 0, y->blocks, payload, y->room, stream, error);
    if (status) return status;
    d->face.counters.ring_launches++;
    return gdn_ring_guard(&d->ring, &d->driver, buffer, stream, &d->face.counters.ring_waits, error);
}

static gdn_status fill(gdn_device *device, gdn_arena *arena, const gdn_inputs *inputs, void *stream, gdn_error *error)
{
    cuda *d = (cuda *)device;
    gdn_error ignored;
    int pushed;
    gdn_status status = enter(d, &pushed, error);
    if (status) return status;
    status = refuse_capturing(d, stream, "build before the capture begins", error);
    if (!status) {
        gdn_payload_plan(&d->payload, arena, inputs);
        d->payload.launch->head.faults = d->ring.device;
        d->stream = stream;
        int fits = d->payload.packer.bytes <= GDN_LARGE - sizeof(gdn_head);
        status = fits ? fill_inside(d, stream, error) : fill_from_ring(d, stream, error);
    }
    (void)leave(d, pushed, GDN_OK, &ignored); /* what was launched is launched */
    return status;
}

static gdn_status reserve(gdn_device *device, size_t bytes, uint64_t *memory, gdn_error *error)
{
    cuda *d = (cuda *)device;
    int pushed;
    gdn_status status = enter(d, &pushed, error);
    if (status) return status;
    gdn_cu r = d->driver.cuMemAlloc(&d->reserved, bytes);
    if (r) status = gdn_driver_fail(&d->driver, error, r, "cuMemAlloc of %zu bytes of checks", bytes);
    r = status ? 0 : d->driver.cuMemsetD8Async(d->reserved, 0, bytes, NULL);
    if (r) status = gdn_driver_fail(&d->driver, error, r, "cuMemsetD8Async of %zu bytes", bytes);
    r = status ? 0 : d->driver.cuStreamSynchronize(NULL);
    if (r) status = gdn_driver_fail(&d->driver, error, r, "cuStreamSynchronize");
    *memory = d->reserved;
    return leave(d, pushed, status, error);
}

static gdn_status launch_inspector(cuda *d, gdn_checks *checks, void *stream, gdn_error *error)
{
    void *arguments[] = { checks };
    gdn_cu r = d->driver.cuLaunchKernel(d->inspector, checks->blocks, 1, 1, GDN_CHECK_THREADS, 1, 1, 0, stream, arguments, NULL);
    if (r) FAIL(r, "cuLaunchKernel of %u blocks", checks->blocks);
    d->face.counters.launches++;
    return GDN_OK;
}

static gdn_status inspect(gdn_device *device, gdn_checks *checks, void *stream, gdn_error *error)
{
    cuda *d = (cuda *)device;
    gdn_error ignored;
    int pushed;
    checks->found = d->ring.device + GDN_RING_FOUND;
    gdn_status status = checks->blocks ? enter(d, &pushed, error) : GDN_OK;
    if (status || !checks->blocks) return status;
    status = refuse_capturing(d, stream, "check before the capture begins", error);
    if (!status) status = launch_inspector(d, checks, stream, error);
    (void)leave(d, pushed, GDN_OK, &ignored); /* what was launched is launched */
    return status;
}

static gdn_status read(gdn_device *device, void *to, const void *from, size_t bytes, gdn_error *error)
{
    cuda *d = (cuda *)device;
    int pushed;
    gdn_status status = enter(d, &pushed, error);
    if (status) return status;
    status = refuse_capturing(d, d->stream, "read before the capture begins", error);
    gdn_cu r = status ? 0 : d->driver.cuMemcpyDtoHAsync(to, (uint64_t)(uintptr_t)from, bytes, d->stream);
    if (r) status = gdn_driver_fail(&d->driver, error, r, "cuMemcpyDtoHAsync of %zu bytes", bytes);
    r = status ? 0 : d->driver.cuStreamSynchronize(d->stream);
    if (r) status = gdn_driver_fail(&d->driver, error, r, "cuStreamSynchronize");
    d->face.counters.reads += !status;
    return leave(d, pushed, status, error);
}

static gdn_status check_pointer(cuda *d, const void *memory, const char *name, gdn_error *error)
{
    uint32_t type = 0;
    int32_t ordinal = d->face.ordinal;
    uint64_t pointer = (uint64_t)(uintptr_t)memory;
    gdn_cu r = d->driver.cuPointerGetAttribute(&type, GDN_CU_POINTER_MEMORY_TYPE, pointer);
    if (r == GDN_CU_INVALID_VALUE)
        return gdn_fail(error, GDN_EINVAL, "%s = %p is no memory that CUDA knows, want memory of cuda:%d", name, memory,
                        d->face.ordinal);
    if (r) FAIL(r, "cuPointerGetAttribute of %s", name);
    if (type != GDN_CU_MEMORY_DEVICE)
        return gdn_fail(error, GDN_EINVAL, "%s = %p is host memory, want memory of cuda:%d", name, memory, d->face.ordinal);
    r = d->driver.cuPointerGetAttribute(&ordinal, GDN_CU_POINTER_DEVICE_ORDINAL, pointer);
    if (r) FAIL(r, "cuPointerGetAttribute of %s", name);
    if (ordinal != d->face.ordinal)
        return gdn_fail(error, GDN_EINVAL, "%s = %p is memory of cuda:%d, want cuda:%d", name, memory, ordinal,
                        d->face.ordinal);
    return GDN_OK;
}

static gdn_status check(gdn_device *device, const void *memory, const char *name, gdn_error *error)
{
    cuda *d = (cuda *)device;
    int pushed;
    gdn_status status = enter(d, &pushed, error);
    return status ? status : leave(d, pushed, check_pointer(d, memory, name, error), error);
}

static void poison(gdn_device *device, gdn_arena *arena)
{
    cuda *d = (cuda *)device;
    gdn_error ignored;
    int pushed;
    char *bytes = malloc(arena->bytes);
    if (bytes && !enter(d, &pushed, &ignored)) {
        memset(bytes, 0xa5, arena->bytes);
        (void)d->driver.cuMemcpyHtoDAsync(d->arena, bytes, arena->bytes, d->stream);
        (void)d->driver.cuStreamSynchronize(d->stream);
        (void)leave(d, pushed, GDN_OK, &ignored);
    }
    free(bytes);
}

static gdn_status allocate(gdn_device *device, gdn_arena *arena, gdn_error *error)
{
    cuda *d = (cuda *)device;
    int pushed;
    gdn_status status = enter(d, &pushed, error);
    if (status) return status;
    gdn_cu r = d->driver.cuMemAlloc(&d->arena, arena->bytes);
    if (r) status = gdn_driver_fail(&d->driver, error, r, "cuMemAlloc of %zu bytes of outputs", arena->bytes);
    arena->base = (char *)(uintptr_t)d->arena;
    return leave(d, pushed, status, error);
}

/* Calls may fail here, also with what an earlier launch did: there is nothing left to do about it. */
static void release(gdn_device *device)
{
    cuda *d = (cuda *)device;
    gdn_error ignored;
    int pushed = 0;
    int ours = !gdn_device_is_ours(&d->face, &ignored); /* else the parent gives it all back */
    if (ours && d->context) {
        if (enter(d, &pushed, &ignored)) pushed = !d->driver.cuCtxPushCurrent(d->context);
        if (d->arena) (void)d->driver.cuMemFree(d->arena); /* waits for the fills that write it */
        if (d->staging) (void)d->driver.cuMemFree(d->staging);
        if (d->reserved) (void)d->driver.cuMemFree(d->reserved);
        gdn_ring_free(&d->ring, &d->driver);
        if (d->module) (void)d->driver.cuModuleUnload(d->module);
        (void)leave(d, pushed, GDN_OK, &ignored);
    }
    if (ours && d->retained) (void)d->driver.cuDevicePrimaryCtxRelease(d->device);
    gdn_driver_unload(&d->driver);
    gdn_payload_free(&d->payload);
    free(d);
}

gdn_status gdn_device_cuda_copy_ring(gdn_device *device, gdn_error *error)
{
    cuda *d = (cuda *)device;
    int pushed;
    gdn_status status = enter(d, &pushed, error);
    if (status) return status;
    gdn_cu r = d->driver.cuMemAlloc(&d->staging, d->ring.buffer_bytes);
    if (r) status = gdn_driver_fail(&d->driver, error, r, "cuMemAlloc of %zu bytes", d->ring.buffer_bytes);
    return leave(d, pushed, status, error);
}

/* Is there a driver that can run us, and a device? *absent where there is not. */
static gdn_status find_devices(cuda *d, int *count, int *absent, gdn_error *error)
{
    int version = 0;
    *absent = 1;
    gdn_status status = gdn_driver_load(&d->driver, error);
    if (status) return status;
    gdn_cu r = d->driver.cuInit(0);
    if (r) FAIL(r, "cuInit");
    if ((r = d->driver.cuDriverGetVersion(&version))) FAIL(r, "cuDriverGetVersion");
    if (version < GDN_CU_LEAST_VERSION)
        return gdn_fail(error, GDN_EDEVICE, "the CUDA driver is of version %d.%d, want 12.1 (driver 530) or later",
                        version / 1000, version % 1000 / 10);
    if ((r = d->driver.cuDeviceGetCount(count))) FAIL(r, "cuDeviceGetCount");
    if (*count < 1) return gdn_fail(error, GDN_EDEVICE, "the CUDA driver finds no device");
    *absent = 0;
    return GDN_OK;
}

/* The current context where it is on the wanted device, or on any if none is named; else the primary one. */
static gdn_status choose_context(cuda *d, int32_t ordinal, int count, gdn_error *error)
{
    void *current = NULL;
    int its_device = -1;
    if (ordinal >= count)
        return gdn_fail(error, GDN_EDEVICE, "device = cuda:%d, want cuda:0 .. cuda:%d", ordinal, count - 1);
    gdn_cu r = d->driver.cuCtxGetCurrent(&current);
    if (r) FAIL(r, "cuCtxGetCurrent");
    if (current && (r = d->driver.cuCtxGetDevice(&its_device))) FAIL(r, "cuCtxGetDevice");
    for (int32_t i = 0; i < count; i++) {
        int device;
        if (ordinal >= 0 && i != ordinal) continue;
        if ((r = d->driver.cuDeviceGet(&device, i))) FAIL(r, "cuDeviceGet of cuda:%d", i);
        if (ordinal < 0 && current && device != its_device) continue;
        d->device = device;
        d->face.ordinal = i;
        break;
    }
    if (current && d->device == its_device) {
        d->context = current;
        return GDN_OK;
    }
    if ((r = d->driver.cuDevicePrimaryCtxRetain(&d->context, d->device))) FAIL(r, "cuDevicePrimaryCtxRetain");
    d->retained = 1;
    return GDN_OK;
}

static gdn_status load_kernels(cuda *d, int *absent, gdn_error *error)
{
    gdn_cu r = d->driver.cuModuleLoadData(&d->module, gdn_image);
    if (r && gdn_image_bytes == 0) {
        *absent = 1;
        return gdn_fail(error, GDN_EDEVICE, "this library was built without nvcc and has no kernel, want one built where "
                                            "nvcc 12.1 or later is");
    }
    if (r) FAIL(r, "cuModuleLoadData");
    for (int i = 0; i < KERNELS; i++)
        if ((r = d->driver.cuModuleGetFunction(&d->kernels[i], d->module, KERNEL_NAMES[i])))
            FAIL(r, "cuModuleGetFunction of %s", KERNEL_NAMES[i]);
    if ((r = d->driver.cuModuleGetFunction(&d->inspector, d->module, "gdn_check_all"))) FAIL(r, "cuModuleGetFunction of gdn_check_all");
    return GDN_OK;
}

/* An empty launch now, waited for, so that no step pays for what the driver does at the first one. */
static gdn_status warm_up(cuda *d, gdn_error *error)
{
    gdn_status status = launch(d, 0, 1, 0, 0, NULL, error);
    gdn_cu r = status ? 0 : d->driver.cuStreamSynchronize(NULL);
    if (r) FAIL(r, "cuStreamSynchronize after the first launch");
    d->face.counters.launches = 0;
    return status;
}

static gdn_status prepare(cuda *d, const gdn_settings *settings, int *absent, gdn_error *error)
{
    gdn_payload *y = &d->payload;
    if (gdn_payload_new(y, settings)) return gdn_fail(error, GDN_ENOMEM, "no memory for payloads");
    gdn_status status = load_kernels(d, absent, error);
    if (!status) status = gdn_ring_new(&d->ring, &d->driver, gdn_payload_sizes_of(settings).in_ring, error);
    if (!status) status = warm_up(d, error);
    d->face.faults = (volatile int32_t *)(void *)d->ring.memory;
    d->face.found = (volatile uint64_t *)(void *)(d->ring.memory + GDN_RING_FOUND);
    return status;
}

gdn_status gdn_device_cuda_open(const gdn_settings *settings, int32_t ordinal, gdn_device **out, int *absent,
                                gdn_error *error)
{
    int count = 0, pushed = 0;
    cuda *d = calloc(1, sizeof *d);
    if (!d) return gdn_fail(error, GDN_ENOMEM, "no memory for a device");
    d->face = (gdn_device){ .allocate = allocate, .fill = fill, .read = read, .check = check, .reserve = reserve,
                            .inspect = inspect, .poison = poison, .release = release, .holders = 1 };
    gdn_status status = gdn_forks_watch() ? gdn_fail(error, GDN_ENOMEM, "no memory to watch for forks") : GDN_OK;
    d->face.forks = gdn_forks();
    if (!status) status = find_devices(d, &count, absent, error);
    if (!status) status = choose_context(d, ordinal, count, error);
    if (!status) status = enter(d, &pushed, error);
    if (!status) status = leave(d, pushed, prepare(d, settings, absent, error), error);
    if (status) {
        gdn_device_drop(&d->face);
        return status;
    }
    *out = &d->face;
    return GDN_OK;
}

size_t gdn_device_cuda_bytes(const gdn_settings *settings)
{
    gdn_payload_sizes sizes = gdn_payload_sizes_of(settings);
    return sizeof(cuda) + sizes.memory + gdn_ring_bytes(sizes.in_ring);
}
