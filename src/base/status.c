/* Which library this is. Status codes for programs, sentences for people. */
#include "base/status.h"

#include "gdnmeta_worker.h"

#include <stdarg.h>
#include <stdio.h>

#define TEXT(number) #number
#define DOTTED(major, minor, patch) TEXT(major) "." TEXT(minor) "." TEXT(patch)

int32_t gdn_abi(void)
{
    return GDN_ABI;
}

const char *gdn_version(void)
{
    return DOTTED(GDN_VERSION_MAJOR, GDN_VERSION_MINOR, GDN_VERSION_PATCH);
}

const char *gdn_strstatus(int32_t status)
{
    switch (status) {
    case GDN_OK: return "ok";
    case GDN_EINVAL: return "invalid argument";
    case GDN_ENOMEM: return "out of memory";
    case GDN_ECAP: return "over capacity";
    case GDN_EGUARD: return "memory guard overwritten";
    case GDN_EDEVICE: return "device failure";
    case GDN_ECLOSED: return "channel closed";
    case GDN_EVERSION: return "another version";
    default: return "unknown status";
    }
}

gdn_status gdn_fail(gdn_error *error, gdn_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    return status;
}
