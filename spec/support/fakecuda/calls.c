/* A driver for the specs: the cu* calls of libcuda that gdnmeta and the specs make, over host memory. It
 * runs the kernel's own element functions compiled for the host, counts what is asked of it, and fails
 * the n-th call on request. It ignores the image: what runs is what it was compiled with.
 *
 * Memory of the device is out of the host's reach but while a kernel or a copy runs: who reads it directly
 * crashes here as on a real device.
 *
 * Work on a stream runs when it is enqueued or, held back, when a call waits for it: then a payload that
 * was not copied, or a buffer that is reused too soon, shows. */
#include "fakecuda.h"

#include <string.h>

counters count;
static long fail_at, fail_code;
static const char *failed_call = "";
static int broken, devices = 1, version = 13000, no_image;

int enter(const char *call)
{
    if (++count.calls != fail_at && !(broken && count.calls > fail_at)) return OK;
    failed_call = call;
    return (int)fail_code;
}

API void fake_reset(void)
{
    long live = count.live, overruns = count.overruns;
    memset(&count, 0, sizeof count);
    count.live = live;
    count.overruns = overruns;
    fail_at = broken = 0;
    failed_call = "";
}
API void fake_fail(long call, long code) { count.calls = 0; fail_at = call; fail_code = code; failed_call = ""; }
/* From the call on every one fails, as after a fault that kills a context. */
API void fake_break(long call, long code) { fake_fail(call, code); broken = 1; }
API long fake_count(const char *what)
{
    static const struct { const char *name; size_t offset; } NAMES[] = {
        { "calls", offsetof(counters, calls) },       { "launches", offsetof(counters, launches) },
        { "copies", offsetof(counters, copies) },     { "waits", offsetof(counters, waits) },
        { "allocations", offsetof(counters, allocations) }, { "blocks", offsetof(counters, blocks) },
        { "bytes", offsetof(counters, bytes) },
        { "kernel", offsetof(counters, kernel) },     { "shared", offsetof(counters, shared) },
        { "unit", offsetof(counters, unit) },         { "pieces", offsetof(counters, pieces) },
        { "live", offsetof(counters, live) },         { "overruns", offsetof(counters, overruns) },
        { "carried", offsetof(counters, carried) },
    };
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        if (!strcmp(NAMES[i].name, what)) return *(long *)(void *)((char *)&count + NAMES[i].offset);
    return -1;
}
API const char *fake_failed_call(void) { return failed_call; }
API void fake_devices(int n) { devices = n; }
API void fake_version(int v) { version = v; }
API void fake_no_image(int on) { no_image = on; }

/* ---- contexts: primary ones are counted, and take their memory with them ---- */

enum { DEVICES = 2 };
static context primaries[DEVICES] = { { 0, 1, 0 }, { 1, 1, 0 } };
static context *stack[64];
static int depth;
context *current(void) { return depth ? stack[depth - 1] : NULL; }

/* ---- the calls of gdnmeta ---- */

API int cuInit(unsigned flags) { (void)flags; ENTER(); return OK; }
API int cuDriverGetVersion(int *v) { ENTER(); *v = version; return OK; }
API int cuDeviceGetCount(int *n) { ENTER(); *n = devices; return OK; }
API int cuDeviceGet(int *device, int ordinal)
{
    ENTER();
    if (ordinal < 0 || ordinal >= devices) return INVALID_DEVICE;
    *device = ordinal;
    return OK;
}
API int cuDevicePrimaryCtxRetain(void **out, int device)
{
    ENTER();
    if (device < 0 || device >= devices) return INVALID_DEVICE;
    primaries[device].references++;
    count.live++;
    *out = &primaries[device];
    return OK;
}
static void release_primary(int device)
{
    if (--primaries[device].references == 0) {
        drain_all();
        give_back_all_of(&primaries[device]);
    }
    count.live--;
}
API int cuDevicePrimaryCtxRelease_v2(int device) { ENTER_AND_DO(release_primary(device)); return OK; }
API int cuCtxGetCurrent(void **out) { ENTER(); *out = current(); return OK; }
API int cuCtxGetDevice(int *device)
{
    ENTER();
    if (!current()) return INVALID_CONTEXT;
    *device = current()->device;
    return OK;
}
API int cuCtxPushCurrent_v2(void *c)
{
    ENTER();
    if (!c || depth == 64) return INVALID_CONTEXT;
    stack[depth++] = c;
    return OK;
}
API int cuCtxPopCurrent_v2(void **out)
{
    if (!depth) return INVALID_CONTEXT;
    *out = stack[depth - 1];
    ENTER_AND_DO(depth--);
    return OK;
}
API int cuModuleLoadData(void **out, const void *image)
{
    ENTER();
    if (!image || no_image) return 200;
    if (!current()) return INVALID_CONTEXT;
    *out = &primaries;
    count.live++;
    return OK;
}
API int cuModuleUnload(void *module) { (void)module; ENTER_AND_DO(count.live--); return OK; }

static const struct { int code; const char *name, *text; } WORDS[] = {
    { OK, "CUDA_SUCCESS", "no error" },
    { INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument" },
    { OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory" },
    { 200, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid" },
    { INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context" },
    { INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle" },
    { LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure" },
};
static int words(int code, const char **out, int text)
{
    for (size_t i = 0; i < sizeof WORDS / sizeof *WORDS; i++)
        if (WORDS[i].code == code) {
            *out = text ? WORDS[i].text : WORDS[i].name;
            return OK;
        }
    *out = NULL;
    return INVALID_VALUE;
}
API int cuGetErrorName(int code, const char **out) { return words(code, out, 0); }
API int cuGetErrorString(int code, const char **out) { return words(code, out, 1); }

/* ---- further calls, for the specs alone ---- */

API int cuCtxSetCurrent(void *c)
{
    if (!c) depth = 0;
    else if (depth) stack[depth - 1] = c;
    else stack[depth++] = c;
    return OK;
}
API int cuDeviceGetName(char *name, int length, int device)
{
    (void)device;
    strncpy(name, "fake", (size_t)length);
    return OK;
}
