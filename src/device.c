/* Choosing a device. */
#include "device.h"

gdn_status gdn_device_open(const gdn_settings *settings, gdn_device **out, gdn_error *error)
{
    int32_t wanted = settings->config.device;
    if (wanted >= 0) return gdn_fail(error, GDN_EDEVICE, "device = %d, want the CPU: this library has no CUDA path", wanted);
    gdn_status status = gdn_device_cpu_open(out);
    return status ? gdn_fail(error, status, "no memory for a device") : GDN_OK;
}
