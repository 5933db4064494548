/* Choosing a device, and who holds it. */
#include "device/device.h"

#include "base/fork_count.h"

#include <stdatomic.h>

void gdn_device_hold(gdn_device *device)
{
    atomic_fetch_add_explicit(&device->holders, 1, memory_order_relaxed);
}

/* What any holder did with the memory happens before the last one frees it. */
void gdn_device_drop(gdn_device *device)
{
    if (atomic_fetch_sub_explicit(&device->holders, 1, memory_order_acq_rel) == 1) device->release(device);
}

gdn_status gdn_device_open(const gdn_settings *settings, gdn_device **out, gdn_error *error)
{
    int32_t wanted = settings->config.device;
    int absent = 0;
    if (wanted != GDN_DEVICE_CPU) {
        gdn_status status = gdn_device_cuda_open(settings, wanted, out, &absent, error);
        if (wanted != GDN_DEVICE_AUTO || !absent) return status;
    }
    gdn_status status = gdn_device_cpu_open(out);
    return status ? gdn_fail(error, status, "no memory for a device") : GDN_OK;
}

gdn_status gdn_device_is_ours(const gdn_device *device, gdn_error *error)
{
    if (device->ordinal == GDN_DEVICE_CPU || device->fork_count == gdn_fork_count()) return GDN_OK;
    return gdn_fail(error, GDN_EDEVICE,
                    "the process forked after the builder was made, want a CUDA builder used where it "
                    "was made");
}

size_t gdn_device_bytes(const gdn_settings *settings)
{
    return settings->config.device == GDN_DEVICE_CPU ? gdn_device_cpu_bytes() : gdn_device_cuda_bytes(settings);
}
