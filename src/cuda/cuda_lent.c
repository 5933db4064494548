/* Memory that a device lends, and copies into it. */
#include "cuda/cuda_device.h"

gdn_status gdn_cuda_lend(gdn_device *device, size_t bytes, uint64_t *memory, gdn_error *error)
{
    gdn_cuda *d = (gdn_cuda *)device;
    int pushed;
    *memory = 0;
    gdn_status status = gdn_cuda_enter(d, &pushed, error);
    if (status) return status;
    gdn_cu r = d->driver.cuMemAlloc(memory, bytes);
    if (r) status = gdn_driver_fail(&d->driver, error, r, "cuMemAlloc of %zu bytes of blocks", bytes);
    r = status ? 0 : d->driver.cuMemsetD8Async(*memory, 0, bytes, NULL);
    if (r) status = gdn_driver_fail(&d->driver, error, r, "cuMemsetD8Async of %zu bytes of blocks", bytes);
    r = status ? 0 : d->driver.cuStreamSynchronize(NULL);
    if (r) status = gdn_driver_fail(&d->driver, error, r, "cuStreamSynchronize");
    if (status && *memory) {
        (void)d->driver.cuMemFree(*memory);
        *memory = 0;
    }
    return gdn_cuda_leave(d, pushed, status, error);
}

/* Calls may fail here: there is nothing left to do about it. A child of the process has nothing to give back. */
void gdn_cuda_take_back(gdn_device *device, uint64_t memory)
{
    gdn_cuda *d = (gdn_cuda *)device;
    gdn_error ignored;
    int pushed;
    if (!memory || gdn_cuda_enter(d, &pushed, &ignored)) return;
    (void)d->driver.cuMemFree(memory); /* waits for the copies into it */
    (void)gdn_cuda_leave(d, pushed, GDN_OK, &ignored);
}

/* From memory that is not pinned: the driver has taken the bytes when the call returns. */
gdn_status gdn_cuda_send(gdn_device *device, uint64_t to, const void *from, size_t bytes, void *stream,
                         gdn_error *error)
{
    gdn_cuda *d = (gdn_cuda *)device;
    int pushed;
    gdn_status status = gdn_cuda_enter(d, &pushed, error);
    if (status) return status;
    status = gdn_cuda_refuse_capturing(d, stream, "step before the capture begins", error);
    gdn_cu r = status ? 0 : d->driver.cuMemcpyHtoDAsync(to, from, bytes, stream);
    if (r) status = gdn_driver_fail(&d->driver, error, r, "cuMemcpyHtoDAsync of %zu bytes of blocks", bytes);
    return gdn_cuda_leave(d, pushed, status, error);
}
