/* Bringing states: one launch, which a stream that is being captured takes as well. And whose memory a pool is. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* dl_iterate_phdr */
#endif
#include "cuda/cuda_device.h"

#include <dlfcn.h>
#include <link.h>
#include <stdatomic.h>
#include <stdlib.h>

gdn_status gdn_cuda_bring(gdn_device *device, const gdn_bring_plan *p, void *stream, gdn_error *error)
{
    gdn_cuda *d = (gdn_cuda *)device;
    gdn_error ignored;
    int pushed;
    uint64_t pieces = ((uint64_t)p->rows[0].rows + p->rows[1].rows) * p->pieces * p->num_pools;
    uint32_t blocks = pieces < GDN_BRING_BLOCKS ? (uint32_t)pieces : GDN_BRING_BLOCKS;
    if (!blocks) return GDN_OK;
    gdn_status status = gdn_cuda_enter(d, &pushed, error);
    if (status) return status;
    void *arguments[] = { (void *)(uintptr_t)p };
    gdn_cu r = d->driver.cuLaunchKernel(d->bring_kernels[p->windows], blocks, 1, 1, GDN_BRING_THREADS, 1, 1, 0, stream,
                                        arguments, NULL);
    if (r) status = gdn_driver_fail(&d->driver, error, r, "cuLaunchKernel of %u blocks", blocks);
    d->common.counters.launches += !status;
    (void)gdn_cuda_leave(d, pushed, GDN_OK, &ignored); /* what was launched is launched */
    return status;
}

gdn_status gdn_cuda_check_pool(gdn_device *device, const void *memory, size_t bytes, const char *name, gdn_error *error)
{
    gdn_status status = device->check(device, memory, name, error);
    if (status) return status;
    status = device->check(device, (const char *)memory + bytes - 1, name, error);
    if (status == GDN_EINVAL)
        return gdn_fail(error, status, "%s = %p ends before its %zu bytes do", name, memory, bytes);
    return status;
}

static int count_loads(struct dl_phdr_info *info, size_t size, void *count)
{
    (void)size;
    *(unsigned long long *)count = info->dlpi_adds;
    return 1;
}

/* A driver is asked if the process has one, and never loaded for that. Where it had none of that name, it has none
 * still unless something was loaded since: looking would read directories. */
int gdn_cuda_owns(const void *memory)
{
    static _Atomic unsigned long long without; /* loads and the name, when there was none */
    unsigned long long loads = 0, key;
    uint32_t type = 0;
    const char *named = getenv("GDNMETA_LIBCUDA"), *path = named && *named ? named : "libcuda.so.1";
    (void)dl_iterate_phdr(count_loads, &loads);
    key = loads;
    for (const char *c = path; *c; c++) key = (key ^ (unsigned char)*c) * 0x100000001b3u;
    if (loads && key == without) return 0;
    void *library = dlopen(path, RTLD_LAZY | RTLD_NOLOAD);
    if (!library) {
        without = key;
        return 0;
    }
    union { /* C converts no object pointer to a function */
        void *object;
        gdn_cu (*call)(void *, int, uint64_t);
    } ask = { dlsym(library, "cuPointerGetAttribute") };
    int owns = ask.object && !ask.call(&type, GDN_CU_POINTER_MEMORY_TYPE, (uintptr_t)memory) &&
               type == GDN_CU_MEMORY_DEVICE;
    (void)dlclose(library);
    return owns;
}
