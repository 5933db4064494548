/* Loading the driver, and its words for failures. */
#include "cuda/cuda_driver.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct entry {
    const char *symbol;
    size_t offset; /* of its pointer in gdn_driver */
} entry;

static const entry ENTRIES[] = {
#define X(name, symbol, arguments) { symbol, offsetof(gdn_driver, name) },
    GDN_CU_CALLS(X)
#undef X
};

gdn_status gdn_driver_load(gdn_driver *driver, gdn_error *error)
{
    const char *named = getenv("GDNMETA_LIBCUDA"), *path = named && *named ? named : "libcuda.so.1";
    /* A driver has threads of its own: it stays when the last builder goes, and nothing closes it. */
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!library) {
        const char *why = dlerror();
        return gdn_fail(error, GDN_EDEVICE, "no CUDA driver: %s", why ? why : path);
    }
    for (size_t i = 0; i < sizeof ENTRIES / sizeof *ENTRIES; i++) {
        void *address = dlsym(library, ENTRIES[i].symbol);
        if (!address) {
            (void)dlclose(library);
            return gdn_fail(error, GDN_EDEVICE, "the CUDA driver %s has no %s, want CUDA 12.1 (driver 530) or later",
                            path, ENTRIES[i].symbol);
        }
        memcpy((char *)driver + ENTRIES[i].offset, &address,
               sizeof address); /* C converts no object pointer to a function */
    }
    return GDN_OK;
}

gdn_status gdn_driver_fail(const gdn_driver *driver, gdn_error *error, gdn_cu result, const char *format, ...)
{
    char call[160];
    const char *name = NULL, *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(call, sizeof call, format, arguments);
    va_end(arguments);
    if (driver->cuGetErrorName(result, &name) || !name) name = "an error that the driver does not know";
    if (driver->cuGetErrorString(result, &text) || !text) text = "no description";
    return gdn_fail(error, result == GDN_CU_OUT_OF_MEMORY ? GDN_ENOMEM : GDN_EDEVICE, "%s: %s (%s)", call, name, text);
}
