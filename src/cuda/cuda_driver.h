/* The CUDA driver by name: the few calls that cuda_*.c make, with prototypes of our own, looked
 * up in whatever library a builder is told to load. Nothing else knows the driver. */
#ifndef GDN_CUDA_DRIVER_H
#define GDN_CUDA_DRIVER_H

#include "base/status.h"

typedef int32_t gdn_cu; /* CUresult; 0 is success */

enum {
    GDN_CU_INVALID_VALUE = 1,
    GDN_CU_OUT_OF_MEMORY = 2,
    GDN_CU_NOT_READY = 600,
    GDN_CU_LEAST_VERSION = 12010, /* CUDA 12.1: the first with 32,764 bytes of kernel parameters */
    GDN_CU_EVENT_DISABLE_TIMING = 2,
    GDN_CU_HOST_PORTABLE = 1, GDN_CU_HOST_MAPPED = 2,
    GDN_CU_POINTER_MEMORY_TYPE = 2, GDN_CU_POINTER_DEVICE_ORDINAL = 9,
    GDN_CU_MEMORY_DEVICE = 2
};

/* Exported names are written out: the header that comes with CUDA hides newer ones in macros. */
#define GDN_CU_CALLS(X)                                                                                              \
    X(cuInit, "cuInit", (unsigned flags))                                                                            \
    X(cuDriverGetVersion, "cuDriverGetVersion", (int *version))                                                      \
    X(cuDeviceGetCount, "cuDeviceGetCount", (int *count))                                                            \
    X(cuDeviceGet, "cuDeviceGet", (int *device, int ordinal))                                                        \
    X(cuDevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain", (void **context, int device))                            \
    X(cuDevicePrimaryCtxRelease, "cuDevicePrimaryCtxRelease_v2", (int device))                                       \
    X(cuCtxGetCurrent, "cuCtxGetCurrent", (void **context))                                                          \
    X(cuCtxGetDevice, "cuCtxGetDevice", (int *device))                                                               \
    X(cuCtxPushCurrent, "cuCtxPushCurrent_v2", (void *context))                                                      \
    X(cuCtxPopCurrent, "cuCtxPopCurrent_v2", (void **context))                                                       \
    X(cuModuleLoadData, "cuModuleLoadData", (void **module, const void *image))                                      \
    X(cuModuleGetFunction, "cuModuleGetFunction", (void **function, void *module, const char *name))                 \
    X(cuModuleUnload, "cuModuleUnload", (void *module))                                                              \
    X(cuMemAlloc, "cuMemAlloc_v2", (uint64_t *memory, size_t bytes))                                                 \
    X(cuMemFree, "cuMemFree_v2", (uint64_t memory))                                                                  \
    X(cuMemHostAlloc, "cuMemHostAlloc", (void **memory, size_t bytes, unsigned flags))                               \
    X(cuMemFreeHost, "cuMemFreeHost", (void *memory))                                                                \
    X(cuMemHostGetDevicePointer, "cuMemHostGetDevicePointer_v2", (uint64_t *device, void *host, unsigned flags))     \
    X(cuMemsetD8Async, "cuMemsetD8Async", (uint64_t memory, unsigned char value, size_t bytes, void *stream))         \
    X(cuMemcpyHtoDAsync, "cuMemcpyHtoDAsync_v2", (uint64_t to, const void *from, size_t bytes, void *stream))        \
    X(cuMemcpyDtoHAsync, "cuMemcpyDtoHAsync_v2", (void *to, uint64_t from, size_t bytes, void *stream))              \
    X(cuPointerGetAttribute, "cuPointerGetAttribute", (void *value, int attribute, uint64_t pointer))                \
    X(cuLaunchKernel, "cuLaunchKernel",                                                                              \
      (void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,        \
       unsigned block_z, unsigned shared_bytes, void *stream, void **arguments, void **extra))                       \
    X(cuEventCreate, "cuEventCreate", (void **event, unsigned flags))                                                \
    X(cuEventRecord, "cuEventRecord", (void *event, void *stream))                                                   \
    X(cuEventQuery, "cuEventQuery", (void *event))                                                                   \
    X(cuEventSynchronize, "cuEventSynchronize", (void *event))                                                       \
    X(cuEventDestroy, "cuEventDestroy_v2", (void *event))                                                            \
    X(cuStreamSynchronize, "cuStreamSynchronize", (void *stream))                                                    \
    X(cuStreamIsCapturing, "cuStreamIsCapturing", (void *stream, int *status))                                       \
    X(cuStreamGetId, "cuStreamGetId", (void *stream, uint64_t *id))                                                  \
    X(cuGetErrorName, "cuGetErrorName", (gdn_cu result, const char **text))                                          \
    X(cuGetErrorString, "cuGetErrorString", (gdn_cu result, const char **text))

typedef struct gdn_driver {
#define X(name, symbol, arguments) gdn_cu(*name) arguments;
    GDN_CU_CALLS(X)
#undef X
} gdn_driver;

/* Loads $GDNMETA_LIBCUDA, or libcuda.so.1, for as long as the process lives. Errors: GDN_EDEVICE. */
gdn_status gdn_driver_load(gdn_driver *driver, gdn_error *error);

/* Says that a call failed, and why in the driver's words. */
__attribute__((format(printf, 4, 5), cold)) gdn_status gdn_driver_fail(const gdn_driver *driver, gdn_error *error,
                                                                       gdn_cu result, const char *format, ...);

/* Return from the function with what the driver said. */
#define GDN_DRIVER_FAIL(driver, error, result, ...) return gdn_driver_fail(driver, error, result, __VA_ARGS__)

#endif
