/* What `make bench-gpu` times: builds on a stream, and the floors under them: an empty launch of the same
 * kernels, and a copy within the device. Loaded by bench/gpu.lua.
 *
 * Device times are events around many launches that were all enqueued while a host function held the
 * stream back: otherwise they would show how fast the host enqueues. */
#define _POSIX_C_SOURCE 199309L /* clock_gettime */
#include "builder/builder.h"
#include "cuda/cuda_driver.h"
#include "cuda/image.h"
#include "cuda/kernel_params.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { KERNELS = 3, GATE_MS = 50, IN_FLIGHT = 100 };

typedef struct bench_gpu {
    gdn_driver driver;
    void *library; /* the driver's, for calls that the core does not make */
    int (*stream_create)(void **stream, unsigned flags);
    int (*elapsed)(float *ms, void *from, void *to);
    int (*copy)(uint64_t to, uint64_t from, size_t bytes, void *stream);
    int (*host_function)(void *stream, void (*function)(void *), void *data);
    int (*device_name)(char *name, int length, int device);
    void *context, *module, *kernels[KERNELS], *stream, *from, *to;
    uint64_t memory[2];
    size_t bytes;
    gdn_launch *empty;
    volatile int open;
} bench_gpu;

GDN_API bench_gpu *bench_gpu_open(char *why, size_t why_size, char *name, int name_size, int *driver_version);
GDN_API double bench_gpu_build(bench_gpu *g, gdn_builder *b, gdn_batch *one, gdn_batch *two, int32_t rounds);
GDN_API double bench_gpu_single(bench_gpu *g, gdn_builder *b, gdn_batch *batch);
GDN_API int32_t bench_gpu_host(bench_gpu *g, gdn_builder *b, gdn_batch *one, gdn_batch *two, int32_t n, double *ns);
GDN_API double bench_gpu_empty(bench_gpu *g, int32_t kernel, int32_t rounds);
GDN_API int32_t bench_gpu_empty_host(bench_gpu *g, int32_t kernel, int32_t n, double *ns);
GDN_API double bench_gpu_copy(bench_gpu *g, int64_t bytes, int32_t rounds);
GDN_API int64_t bench_gpu_cleared(const gdn_builder *b);
GDN_API int32_t bench_gpu_copy_ring(gdn_builder *b);
GDN_API void *bench_gpu_stream(bench_gpu *g);

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int find(bench_gpu *g, const char *symbol, void *at)
{
    void *address = dlsym(g->library, symbol);
    memcpy(at, &address, sizeof address);
    return !address;
}

bench_gpu *bench_gpu_open(char *why, size_t why_size, char *name, int name_size, int *driver_version)
{
    static const char *const NAMES[KERNELS] = { "gdn_fill_small", "gdn_fill_medium", "gdn_fill_large" };
    gdn_error error = { "no memory" };
    int count = 0, bad = 0;
    bench_gpu *g = calloc(1, sizeof *g);
    if (!g || gdn_driver_load(&g->driver, &error)) goto fail;
    const char *path = getenv("GDNMETA_LIBCUDA");
    g->library = dlopen(path && *path ? path : "libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
    (void)snprintf(error.text, sizeof error.text, "the driver finds no device");
    if (g->driver.cuInit(0) || g->driver.cuDeviceGetCount(&count) || count < 1) goto fail;
    (void)snprintf(error.text, sizeof error.text, "the driver lacks a call, or failed one");
    bad |= find(g, "cuStreamCreate", &g->stream_create) | find(g, "cuEventElapsedTime", &g->elapsed);
    bad |= find(g, "cuMemcpyDtoDAsync_v2", &g->copy) | find(g, "cuLaunchHostFunc", &g->host_function);
    bad |= find(g, "cuDeviceGetName", &g->device_name);
    if (bad || g->driver.cuDevicePrimaryCtxRetain(&g->context, 0) || g->driver.cuCtxPushCurrent(g->context)) goto fail;
    if (g->driver.cuModuleLoadData(&g->module, gdn_image)) goto fail;
    for (int i = 0; i < KERNELS; i++) bad |= g->driver.cuModuleGetFunction(&g->kernels[i], g->module, NAMES[i]);
    bad |= g->stream_create(&g->stream, 1) | g->driver.cuEventCreate(&g->from, 0) | g->driver.cuEventCreate(&g->to, 0);
    g->bytes = (size_t)64 << 20;
    bad |= g->driver.cuMemAlloc(&g->memory[0], g->bytes) | g->driver.cuMemAlloc(&g->memory[1], g->bytes);
    bad |= g->device_name(name, name_size, 0) | g->driver.cuDriverGetVersion(driver_version);
    g->empty = aligned_alloc(GDN_LAUNCH_ALIGNMENT, sizeof *g->empty);
    if (bad || !g->empty) goto fail;
    memset(g->empty, 0, sizeof *g->empty);
    return g;
fail:
    (void)snprintf(why, why_size, "%s", error.text);
    free(g);
    return NULL;
}

void *bench_gpu_stream(bench_gpu *g)
{
    return g->stream;
}

/* Opens by itself after a while: a driver that cannot enqueue more must not hang the bench. */
static void gate(void *data)
{
    bench_gpu *g = data;
    double start = now_ns();
    while (!g->open && now_ns() - start < GATE_MS * 1e6) {}
}

typedef struct work {
    gdn_builder *builder;
    gdn_batch *batches[2];
    int32_t kernel;
    size_t bytes;
} work;

static int once(bench_gpu *g, const work *w, int32_t i)
{
    uint64_t ring = 0;
    uint32_t room = 0;
    void *arguments[] = { g->empty, &ring, &room };
    if (w->builder) return gdn_build(w->builder, w->batches[i & 1], g->stream);
    if (w->bytes) return g->copy(g->memory[0], g->memory[1], w->bytes, g->stream);
    return g->driver.cuLaunchKernel(g->kernels[w->kernel], 1, 1, 1, GDN_THREADS, 1, 1, 0, g->stream, arguments, NULL);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Microseconds of device time each, the median of `rounds` stretches; negative: something failed. */
static double device_time(bench_gpu *g, const work *w, int32_t rounds)
{
    double values[64];
    rounds = rounds > 64 ? 64 : rounds;
    for (int32_t r = 0; r < rounds; r++) {
        int bad = g->driver.cuStreamSynchronize(g->stream);
        float ms = 0;
        g->open = 0;
        bad |= g->host_function(g->stream, gate, g) | g->driver.cuEventRecord(g->from, g->stream);
        for (int32_t i = 0; i < IN_FLIGHT; i++) bad |= once(g, w, i);
        bad |= g->driver.cuEventRecord(g->to, g->stream);
        g->open = 1;
        bad |= g->driver.cuStreamSynchronize(g->stream) | g->elapsed(&ms, g->from, g->to);
        if (bad) return -1;
        values[r] = (double)ms * 1e3 / IN_FLIGHT;
    }
    qsort(values, (size_t)rounds, sizeof *values, compare);
    return values[rounds / 2];
}

/* Nanoseconds of host time of each of n calls; the stream is waited for now and then, off the clock. */
static int32_t host_times(bench_gpu *g, const work *w, int32_t n, double *ns)
{
    int bad = 0;
    for (int32_t i = 0; i < n; i++) {
        if (i % 32 == 0) bad |= g->driver.cuStreamSynchronize(g->stream);
        double start = now_ns();
        bad |= once(g, w, i);
        ns[i] = now_ns() - start;
    }
    return bad | g->driver.cuStreamSynchronize(g->stream);
}

double bench_gpu_build(bench_gpu *g, gdn_builder *b, gdn_batch *one, gdn_batch *two, int32_t rounds)
{
    return device_time(g, &(work){ .builder = b, .batches = { one, two } }, rounds);
}

/* One build between two events on an idle stream. */
double bench_gpu_single(bench_gpu *g, gdn_builder *b, gdn_batch *batch)
{
    float ms = 0;
    int bad = g->driver.cuEventRecord(g->from, g->stream) | (int)gdn_build(b, batch, g->stream);
    bad |= g->driver.cuEventRecord(g->to, g->stream) | g->driver.cuStreamSynchronize(g->stream);
    bad |= g->elapsed(&ms, g->from, g->to);
    return bad ? -1 : (double)ms * 1e3;
}

int32_t bench_gpu_host(bench_gpu *g, gdn_builder *b, gdn_batch *one, gdn_batch *two, int32_t n, double *ns)
{
    return host_times(g, &(work){ .builder = b, .batches = { one, two } }, n, ns);
}

double bench_gpu_empty(bench_gpu *g, int32_t kernel, int32_t rounds)
{
    return device_time(g, &(work){ .kernel = kernel }, rounds);
}

int32_t bench_gpu_empty_host(bench_gpu *g, int32_t kernel, int32_t n, double *ns)
{
    return host_times(g, &(work){ .kernel = kernel }, n, ns);
}

double bench_gpu_copy(bench_gpu *g, int64_t bytes, int32_t rounds)
{
    return (size_t)bytes > g->bytes ? -1 : device_time(g, &(work){ .bytes = (size_t)bytes }, rounds);
}

/* Bytes of slots that the last build cleared behind its views, of all groups. */
int64_t bench_gpu_cleared(const gdn_builder *b)
{
    const gdn_arena *arena = &b->arena;
    int64_t elements = 0;
    for (int32_t f = 0; f < GDN_NUM_FIELDS; f++)
        if (arena->live[f] >= 0 && arena->reached[f] > arena->shown[f]) elements += arena->reached[f] - arena->shown[f];
    return elements * (int64_t)sizeof(int32_t) * b->settings.config.num_groups;
}

int32_t bench_gpu_copy_ring(gdn_builder *b)
{
    return gdn_device_cuda_copy_ring(b->device, &b->error);
}
