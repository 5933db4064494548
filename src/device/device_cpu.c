/* The CPU as a device: memory from calloc, fills in the caller's thread. */
#include "device/device.h"

#include "verify/verify_cpu.h"
#include "fill/fill_cpu.h"
#include "bring/bring_cpu.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

typedef struct cpu {
    gdn_device public; /* first: a gdn_device * is a cpu * */
    char *origin;    /* of the block that the arena lies in */
    void *reserved;
    uint64_t found;
} cpu;

/* calloc: pages of a large arena cost memory only once they are written. */
static gdn_status allocate(gdn_device *device, gdn_arena *arena, gdn_error *error)
{
    cpu *d = (cpu *)device;
    d->origin = calloc(1, arena->bytes + ALIGNMENT);
    if (!d->origin) return gdn_fail(error, GDN_ENOMEM, "no memory for %zu bytes of outputs", arena->bytes);
    arena->base = d->origin + ALIGNMENT - (uintptr_t)d->origin % ALIGNMENT;
    return GDN_OK;
}

static gdn_status fill(gdn_device *device, gdn_arena *arena, const gdn_fill_inputs *inputs, void *stream,
                       gdn_error *error)
{
    (void)device, (void)error;
    (void)stream; /* the CPU's outputs are complete when this returns */
    gdn_fill_cpu(arena, inputs);
    return GDN_OK;
}

static gdn_status read(gdn_device *device, void *to, const void *from, size_t bytes, gdn_error *error)
{
    (void)device, (void)error;
    memcpy(to, from, bytes);
    return GDN_OK;
}

static gdn_status check(gdn_device *device, const void *memory, const char *name, gdn_error *error)
{
    (void)device, (void)memory;
    return gdn_fail(error, GDN_EINVAL, "%s is to be device memory, want a CUDA builder: this one's device is the CPU",
                    name);
}

/* calloc here as well: of many slots a step uses few. */
static gdn_status reserve(gdn_device *device, size_t bytes, uint64_t *memory, gdn_error *error)
{
    cpu *d = (cpu *)device;
    d->reserved = calloc(1, bytes);
    if (!d->reserved) return gdn_fail(error, GDN_ENOMEM, "no memory for %zu bytes for verification", bytes);
    *memory = (uintptr_t)d->reserved;
    return GDN_OK;
}

static gdn_status verify(gdn_device *device, gdn_verify_input *input, void *stream, gdn_error *error)
{
    (void)stream, (void)error;
    input->found = (uintptr_t) & ((cpu *)device)->found;
    gdn_verify_cpu(input);
    return GDN_OK;
}

static gdn_status lend(gdn_device *device, size_t bytes, uint64_t *memory, gdn_error *error)
{
    (void)device, (void)bytes, (void)error;
    *memory = 0;
    return GDN_OK;
}

static void take_back(gdn_device *device, uint64_t memory)
{
    (void)device, (void)memory;
}

static gdn_status check_pool(gdn_device *device, const void *memory, size_t bytes, const char *name, gdn_error *error)
{
    (void)device, (void)bytes;
    if (!gdn_cuda_owns(memory)) return GDN_OK;
    return gdn_fail(error, GDN_EINVAL, "%s = %p is memory of a CUDA device, want host memory: this builder's device is "
                    "the CPU", name, memory);
}

static gdn_status bring(gdn_device *device, const gdn_bring_plan *plan, void *stream, gdn_error *error)
{
    (void)device, (void)stream, (void)error;
    gdn_bring_cpu(plan);
    return GDN_OK;
}

static void poison(gdn_device *device, gdn_arena *arena)
{
    (void)device;
    memset(arena->base, 0xa5, arena->bytes);
}

static void release(gdn_device *device)
{
    free(((cpu *)device)->origin);
    free(((cpu *)device)->reserved);
    free(device);
}

gdn_status gdn_device_cpu_open(gdn_device **out)
{
    cpu *d = calloc(1, sizeof *d);
    if (!d) return GDN_ENOMEM;
    d->public = (gdn_device){ .allocate = allocate, .fill = fill, .read = read, .check = check,
                            .reserve = reserve, .verify = verify, .check_pool = check_pool, .bring = bring,
                            .lend = lend, .take_back = take_back, .poison = poison, .release = release,
                            .holders = 1, .ordinal = GDN_DEVICE_CPU, .found = &d->found };
    *out = &d->public;
    return GDN_OK;
}

size_t gdn_device_cpu_bytes(void)
{
    return sizeof(cpu) + ALIGNMENT;
}
