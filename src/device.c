/* Choosing a device. */
#include "device.h"

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
