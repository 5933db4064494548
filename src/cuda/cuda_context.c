/* Chooses device and context (the caller's current one if any). Every call restores the context it found. */
#include "cuda/cuda_device.h"

#include "base/fork_count.h"

gdn_status gdn_cuda_enter(gdn_cuda *d, int *pushed, gdn_error *error)
{
    void *current = NULL;
    *pushed = 0;
    gdn_status ours = gdn_device_is_ours(&d->common, error);
    if (ours) return ours;
    gdn_cu r = d->driver.cuCtxGetCurrent(&current);
    if (r) GDN_DRIVER_FAIL(&d->driver, error, r, "cuCtxGetCurrent");
    if (current == d->context) return GDN_OK;
    if ((r = d->driver.cuCtxPushCurrent(d->context))) GDN_DRIVER_FAIL(&d->driver, error, r, "cuCtxPushCurrent");
    *pushed = 1;
    return GDN_OK;
}

gdn_status gdn_cuda_leave(gdn_cuda *d, int pushed, gdn_status status, gdn_error *error)
{
    void *context = NULL;
    gdn_cu r = pushed ? d->driver.cuCtxPopCurrent(&context) : 0;
    if (r && !status) GDN_DRIVER_FAIL(&d->driver, error, r, "cuCtxPopCurrent");
    return status;
}

gdn_status gdn_cuda_find_devices(gdn_cuda *d, int *count, int *absent, gdn_error *error)
{
    int version = 0;
    *absent = 1;
    gdn_status status = gdn_driver_load(&d->driver, error);
    if (status) return status;
    gdn_cu r = d->driver.cuInit(0);
    if (r) GDN_DRIVER_FAIL(&d->driver, error, r, "cuInit");
    if ((r = d->driver.cuDriverGetVersion(&version))) GDN_DRIVER_FAIL(&d->driver, error, r, "cuDriverGetVersion");
    if (version < GDN_CU_LEAST_VERSION)
        return gdn_fail(error, GDN_EDEVICE, "the CUDA driver is of version %d.%d, want 12.1 (driver 530) or later",
                        version / 1000, version % 1000 / 10);
    if ((r = d->driver.cuDeviceGetCount(count))) GDN_DRIVER_FAIL(&d->driver, error, r, "cuDeviceGetCount");
    if (*count < 1) return gdn_fail(error, GDN_EDEVICE, "the CUDA driver finds no device");
    *absent = 0;
    return GDN_OK;
}

gdn_status gdn_cuda_choose_context(gdn_cuda *d, int32_t ordinal, int count, gdn_error *error)
{
    void *current = NULL;
    int its_device = -1;
    if (ordinal >= count)
        return gdn_fail(error, GDN_EDEVICE, "device = cuda:%d, want cuda:0 .. cuda:%d", ordinal, count - 1);
    gdn_cu r = d->driver.cuCtxGetCurrent(&current);
    if (r) GDN_DRIVER_FAIL(&d->driver, error, r, "cuCtxGetCurrent");
    if (current && (r = d->driver.cuCtxGetDevice(&its_device))) GDN_DRIVER_FAIL(&d->driver, error, r, "cuCtxGetDevice");
    for (int32_t i = ordinal < 0 ? 0 : ordinal; i < count; i++) {
        int device;
        if ((r = d->driver.cuDeviceGet(&device, i))) GDN_DRIVER_FAIL(&d->driver, error, r, "cuDeviceGet of cuda:%d", i);
        if (ordinal < 0 && current && device != its_device) continue;
        d->device = device;
        d->common.ordinal = i;
        break;
    }
    if (current && d->device == its_device) {
        d->context = current;
        return GDN_OK;
    }
    r = d->driver.cuDevicePrimaryCtxRetain(&d->context, d->device);
    d->retained = !r;
    if (r) GDN_DRIVER_FAIL(&d->driver, error, r, "cuDevicePrimaryCtxRetain");
    return GDN_OK;
}
