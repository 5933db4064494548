/* A driver for the specs: the cu* calls of libcuda that gdnmeta and the specs make, over host memory. It
 * runs the kernel's own element functions compiled for the host, counts what is asked of it, and fails
 * the n-th call on request. It ignores the image: what runs is what this file was compiled with.
 *
 * Memory of the device is out of the host's reach but while a kernel or a copy runs: who reads it directly
 * crashes here as on a real device.
 *
 * Work on a stream runs when it is enqueued or, held back, when someone waits for it: then a payload that
 * was not copied, or a buffer that is reused too soon, shows. */
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#include "check_element.h"
#include "element.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define API __attribute__((visibility("default")))

enum { OK, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, DEINITIALIZED = 4, INVALID_DEVICE = 101, INVALID_CONTEXT = 201,
       INVALID_HANDLE = 400, NOT_FOUND = 500, NOT_READY = 600, LAUNCH_FAILED = 719, CAPTURE_UNSUPPORTED = 900,
       CAPTURE_INVALIDATED = 901 };

enum { HOST_PORTABLE = 1u, HOST_MAPPED = 2u, EVENT_DISABLE_TIMING = 2u };
enum { DEVICES = 2, OBJECTS = 4096, PAGE = 4096, GUARD = 64 };
static const unsigned char POISON = 0xa5, CANARY = 0xc3;

/* ---- counters and failures ---- */

static struct {
    long calls, launches, copies, waits, allocations, bytes, blocks;
    long live;      /* objects and memory not yet given back */
    long overruns;  /* memory freed with its guard overwritten */
} count;
static long fail_at, fail_code;
static const char *last_call = "", *failed_call = "";
static int broken, held, devices = 1, version = 13000, no_image;

#define ENTER()                                        \
    do {                                               \
        last_call = __func__;                          \
        if (++count.calls == fail_at || (broken && count.calls > fail_at)) {                \
            failed_call = __func__;                    \
            return (int)fail_code;                     \
        }                                              \
    } while (0)
/* Calls that give back do so and then report: a driver returns earlier failures from them. */
#define ENTER_AND_DO(action)                           \
    do {                                               \
        last_call = __func__;                          \
        action;                                        \
        if (++count.calls == fail_at || (broken && count.calls > fail_at)) {                \
            failed_call = __func__;                    \
            return (int)fail_code;                     \
        }                                              \
    } while (0)

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
        { "calls", offsetof(__typeof__(count), calls) },       { "launches", offsetof(__typeof__(count), launches) },
        { "copies", offsetof(__typeof__(count), copies) },     { "waits", offsetof(__typeof__(count), waits) },
        { "allocations", offsetof(__typeof__(count), allocations) }, { "blocks", offsetof(__typeof__(count), blocks) },
        { "bytes", offsetof(__typeof__(count), bytes) },
        { "live", offsetof(__typeof__(count), live) },         { "overruns", offsetof(__typeof__(count), overruns) },
    };
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        if (!strcmp(NAMES[i].name, what)) return *(long *)(void *)((char *)&count + NAMES[i].offset);
    return -1;
}
API const char *fake_failed_call(void) { return failed_call; }
API void fake_hold(int on) { held = on; }
API void fake_devices(int n) { devices = n; }
API void fake_version(int v) { version = v; }
API void fake_no_image(int on) { no_image = on; }

/* ---- contexts: primary ones are counted, and take their memory with them ---- */

typedef struct context { int device, primary, references; } context;
static context primaries[DEVICES] = { { 0, 1, 0 }, { 1, 1, 0 } };
static context *stack[64];
static int depth;
static context *current(void) { return depth ? stack[depth - 1] : NULL; }

/* [a page of canaries, the memory, canaries to the end of a page] */
typedef struct memory { char *base; size_t bytes; int on_host; context *owner; unsigned flags; } memory;
static memory blocks[OBJECTS];
static int used; /* blocks[used ..] are free */

static size_t mapped_bytes(size_t bytes) { return PAGE + (bytes + GUARD + PAGE - 1) / PAGE * PAGE; }

static memory *find(uint64_t p, size_t bytes)
{
    for (int i = 0; i < used; i++) {
        uint64_t base = (uint64_t)(uintptr_t)blocks[i].base;
        if (base && p >= base && p - base <= blocks[i].bytes && bytes <= blocks[i].bytes - (p - base)) return &blocks[i];
    }
    return NULL;
}

/* What the work at hand names, and nothing else, is within reach while it runs. */
static memory *opened[256];
static int num_opened;
static void reach(uint64_t p)
{
    memory *m = p ? find(p, 1) : NULL;
    for (int i = 0; i < num_opened; i++)
        if (opened[i] == m) return;
    if (!m || m->on_host || num_opened == 256) return;
    (void)mprotect(m->base - PAGE, mapped_bytes(m->bytes), PROT_READ | PROT_WRITE);
    opened[num_opened++] = m;
}
static void let_go(void)
{
    while (num_opened) {
        memory *m = opened[--num_opened];
        (void)mprotect(m->base - PAGE, mapped_bytes(m->bytes), PROT_NONE);
    }
}

static int allocate(void **out, size_t bytes, int on_host)
{
    if (!current()) return INVALID_CONTEXT;
    for (int i = 0; i < OBJECTS; i++) {
        if (blocks[i].base) continue;
        if (bytes > (size_t)1 << 40) return OUT_OF_MEMORY;
        size_t all = mapped_bytes(bytes);
        char *origin = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (origin == MAP_FAILED) return OUT_OF_MEMORY;
        memset(origin, CANARY, all);
        blocks[i] = (memory){ origin + PAGE, bytes, on_host, current(), 0 };
        memset(blocks[i].base, POISON, bytes);
        if (!on_host) (void)mprotect(origin, all, PROT_NONE);
        *out = blocks[i].base;
        used = i < used ? used : i + 1;
        count.allocations++;
        count.bytes += (long)bytes;
        count.live++;
        return OK;
    }
    return OUT_OF_MEMORY;
}

static void give_back(memory *m)
{
    size_t all = mapped_bytes(m->bytes);
    (void)mprotect(m->base - PAGE, all, PROT_READ | PROT_WRITE);
    for (int i = 0; i < GUARD; i++)
        if ((unsigned char)m->base[-1 - i] != CANARY || (unsigned char)m->base[m->bytes + (size_t)i] != CANARY) {
            count.overruns++;
            break;
        }
    (void)munmap(m->base - PAGE, all);
    *m = (memory){ 0 };
    count.live--;
}

/* ---- streams, events, graphs: lists of work ---- */

typedef struct operation {
    enum { NONE, LAUNCH, CHECK, COPY, SET, RECORD } kind;
    unsigned grid, shared;
    int kernel;
    void *launch; /* gdn_launch or gdn_checks */
    const unsigned char *ring;
    uint32_t room;
    void *to;
    const void *from;
    size_t bytes;
    struct event *event;
} operation;

typedef struct event { long recorded, done; } event;
typedef struct stream { operation queue[64]; int length, capturing; context *owner; struct graph *graph; } stream;
typedef struct graph { operation nodes[64]; int length; } graph;
static stream legacy;

/* i -> (a i + b) mod n with a prime to n: every index once, in no order that a kernel could rely on. */
static uint64_t multiplier(uint64_t n, uint64_t seed)
{
    uint64_t a = (2654435761u + 2 * seed) % n;
    for (;; a = a % n + 1) {
        uint64_t x = a, y = n;
        while (y) { uint64_t t = x % y; x = y; y = t; }
        if (x == 1) return a;
    }
}

static uint64_t seed;

static void run_blocks(const gdn_launch *l, const unsigned char *payload, uint32_t room, unsigned grid, unsigned shared)
{
    unsigned char *staged = aligned_alloc(16, (shared + 31) / 16 * 16);
    uint64_t a = multiplier(grid, seed);
    for (unsigned n = 0; n < grid; n++) {
        uint32_t block = (uint32_t)((a * n + seed) % grid), odd = (uint32_t)(2 * (seed + n) + 1); /* prime to 256 */
        memset(staged, 0xee, shared);
        for (uint32_t t = 0; t < GDN_THREADS; t++)
            gdn_stage(&l->head, payload, room, block, (odd * t + n) % GDN_THREADS, staged);
        for (uint32_t t = 0; t < GDN_THREADS; t++)
            gdn_fill_element(&l->head, payload, room, block, (odd * 5 * t + block) % GDN_THREADS, staged);
    }
    seed++;
    free(staged);
}

static void reach_launch(const gdn_head *h, const unsigned char *payload)
{
    reach((uint64_t)(uintptr_t)payload); /* the bench may have copied it */
    reach(h->seq_lens);
    reach(h->accepted);
    for (uint32_t i = 0; i < h->num_segments; i++) {
        const gdn_segment *s = &h->segments[i];
        reach(s->out);
        for (uint32_t g = 0; s->kind == GDN_FILL_STATES && g < s->elements / s->per_group; g++) {
            gdn_group group;
            memcpy(&group, payload + h->groups + g * sizeof group, sizeof group);
            reach(group.table);
        }
    }
}

static void run_checks(const gdn_checks *c, unsigned grid)
{
    uint64_t a = multiplier(grid, seed);
    reach(c->claims);
    for (uint32_t f = 0; f < GDN_NUM_FIELDS; f++) {
        reach(c->fields[f].data);
        reach(c->unused[f].buffer);
    }
    for (unsigned n = 0; n < grid; n++) {
        uint32_t block = (uint32_t)((a * n + seed) % grid), odd = (uint32_t)(2 * (seed + n) + 1);
        for (uint32_t t = 0; t < GDN_CHECK_THREADS; t++) gdn_check_block(c, block, (odd * t + n) % GDN_CHECK_THREADS);
    }
    seed++;
}

static void run(operation *o)
{
    if (o->kind == LAUNCH) {
        const gdn_launch *launch = o->launch;
        const unsigned char *payload = o->ring ? o->ring : launch->payload;
        reach_launch(&launch->head, payload);
        run_blocks(launch, payload, o->room, o->grid, o->shared);
    } else if (o->kind == CHECK) {
        run_checks(o->launch, o->grid);
    } else if (o->kind == SET) {
        reach((uint64_t)(uintptr_t)o->to);
        memset(o->to, o->kernel, o->bytes);
    } else if (o->kind == COPY) {
        reach((uint64_t)(uintptr_t)o->to);
        reach((uint64_t)(uintptr_t)o->from);
        memcpy(o->to, o->from, o->bytes);
    } else if (o->kind == RECORD) {
        o->event->done++;
    }
    let_go();
}

static void drain(stream *s, const event *until)
{
    int i = 0;
    while (i < s->length && !(until && until->done == until->recorded)) {
        run(&s->queue[i]);
        free(s->queue[i].launch);
        i++;
    }
    memmove(s->queue, s->queue + i, (size_t)(s->length - i) * sizeof *s->queue);
    s->length -= i;
}

static stream *known[64];

static stream *stream_of(void *handle)
{
    if (!handle) return &legacy;
    for (int i = 0; i < 64; i++)
        if (known[i] == handle) return handle;
    return NULL;
}

static int enqueue(void *handle, operation o)
{
    stream *s = stream_of(handle);
    if (!s || (s->owner && current() != s->owner)) {
        free(o.launch);
        return INVALID_HANDLE;
    }
    if (s->capturing) {
        s->graph->nodes[s->graph->length++] = o;
        return OK;
    }
    if (s->length == 64) drain(s, NULL);
    s->queue[s->length++] = o;
    if (!held) drain(s, NULL);
    return OK;
}

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
    if (--primaries[device].references == 0)
        for (int i = 0; i < OBJECTS; i++)
            if (blocks[i].base && blocks[i].owner == &primaries[device]) give_back(&blocks[i]);
    count.live--;
}
API int cuDevicePrimaryCtxRelease_v2(int device) { ENTER_AND_DO(release_primary(device)); return OK; }
API int cuCtxGetCurrent(void **out) { ENTER(); *out = current(); return OK; }
API int cuCtxGetDevice(int *device) { ENTER(); if (!current()) return INVALID_CONTEXT; *device = current()->device; return OK; }
API int cuCtxPushCurrent_v2(void *c) { ENTER(); if (!c || depth == 64) return INVALID_CONTEXT; stack[depth++] = c; return OK; }
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

enum { INSPECTOR = 3, NUM_KERNELS = 4 };
static const char *const KERNELS[NUM_KERNELS] = { "gdn_fill_small", "gdn_fill_medium", "gdn_fill_large", "gdn_check_all" };
static const size_t SIZES[NUM_KERNELS] = { GDN_SMALL, GDN_MEDIUM, GDN_LARGE, sizeof(gdn_checks) };

API int cuModuleGetFunction(void **out, void *module, const char *name)
{
    (void)module;
    ENTER();
    for (int i = 0; i < NUM_KERNELS; i++)
        if (!strcmp(KERNELS[i], name)) {
            *out = (void *)(uintptr_t)&KERNELS[i];
            return OK;
        }
    return NOT_FOUND;
}
API int cuMemAlloc_v2(uint64_t *out, size_t bytes)
{
    void *p;
    ENTER();
    int r = allocate(&p, bytes, 0);
    if (!r) *out = (uint64_t)(uintptr_t)p;
    return r;
}
static int free_block(uint64_t p, int on_host)
{
    for (int i = 0; i < 64; i++)
        if (known[i]) drain(known[i], NULL);
    drain(&legacy, NULL);
    memory *m = find(p, 0);
    if (!m || (uint64_t)(uintptr_t)m->base != p || m->on_host != on_host) return INVALID_VALUE;
    give_back(m);
    return OK;
}
API int cuMemFree_v2(uint64_t p) { int r; ENTER_AND_DO(r = free_block(p, 0)); return r; }
API int cuMemHostAlloc(void **out, size_t bytes, unsigned flags)
{
    ENTER();
    if (flags > (HOST_PORTABLE | HOST_MAPPED)) return INVALID_VALUE;
    int r = allocate(out, bytes, 1);
    if (!r) find((uint64_t)(uintptr_t)*out, bytes)->flags = flags;
    return r;
}
API int cuMemFreeHost(void *p) { int r; ENTER_AND_DO(r = free_block((uint64_t)(uintptr_t)p, 1)); return r; }
API int cuMemHostGetDevicePointer_v2(uint64_t *out, void *host, unsigned flags)
{
    ENTER();
    memory *m = find((uint64_t)(uintptr_t)host, 0);
    /* Not portable, it would be out of reach for builders in other contexts. */
    if (flags || !m || m->flags != (HOST_PORTABLE | HOST_MAPPED)) return INVALID_VALUE;
    *out = (uint64_t)(uintptr_t)host;
    return OK;
}
static int copy(void *to, const void *from, size_t bytes, uint64_t device, void *s)
{
    count.copies++;
    if (!find(device, bytes)) return INVALID_VALUE;
    return enqueue(s, (operation){ .kind = COPY, .to = to, .from = from, .bytes = bytes });
}
API int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *s)
{
    ENTER();
    return copy((void *)(uintptr_t)to, from, bytes, to, s);
}
API int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *s)
{
    ENTER();
    return copy(to, (const void *)(uintptr_t)from, bytes, from, s);
}
API int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void *s)
{
    ENTER();
    return find(to, bytes) ? copy((void *)(uintptr_t)to, (const void *)(uintptr_t)from, bytes, from, s) : INVALID_VALUE;
}
API int cuMemsetD8Async(uint64_t to, unsigned char value, size_t bytes, void *s)
{
    ENTER();
    if (!find(to, bytes)) return INVALID_VALUE;
    return enqueue(s, (operation){ .kind = SET, .to = (void *)(uintptr_t)to, .kernel = value, .bytes = bytes });
}
API int cuPointerGetAttribute(void *out, int attribute, uint64_t p)
{
    ENTER();
    memory *m = find(p, 1);
    if (!m || (attribute != 2 && attribute != 9)) return INVALID_VALUE;
    int value = attribute == 2 ? (m->on_host ? 1 : 2) : m->owner->device;
    memcpy(out, &value, sizeof value);
    return OK;
}
API int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                       unsigned shared, void *s, void **arguments, void **extra)
{
    ENTER();
    int kernel = (int)((const char *const *)function - KERNELS);
    if (!current() || kernel < 0 || kernel >= NUM_KERNELS) return INVALID_HANDLE;
    if (!gx || gy != 1 || gz != 1 || bx != GDN_THREADS || by != 1 || bz != 1 || shared > GDN_SHARED || extra) return INVALID_VALUE;
    operation o = { .kind = kernel == INSPECTOR ? CHECK : LAUNCH, .grid = gx, .shared = shared, .kernel = kernel };
    /* As much of the parameters as the kernel has, and no more: ASan sees what reaches beyond. */
    o.launch = aligned_alloc(16, (SIZES[kernel] + 15) / 16 * 16);
    memcpy(o.launch, arguments[0], SIZES[kernel]);
    if (kernel != INSPECTOR) memcpy(&o.ring, arguments[1], sizeof o.ring);
    if (kernel != INSPECTOR) memcpy(&o.room, arguments[2], sizeof o.room);
    count.launches++;
    count.blocks += gx;
    return enqueue(s, o);
}
API int cuEventCreate(void **out, unsigned flags)
{
    ENTER();
    if (flags != EVENT_DISABLE_TIMING) return INVALID_VALUE; /* nobody here takes times */
    *out = calloc(1, sizeof(event));
    count.live++;
    return OK;
}
static void end_event(void *e)
{
    free(e);
    count.live--;
}
API int cuEventDestroy_v2(void *e) { ENTER_AND_DO(end_event(e)); return OK; }
API int cuEventRecord(void *e, void *s)
{
    ENTER();
    ((event *)e)->recorded++;
    return enqueue(s, (operation){ .kind = RECORD, .event = e });
}
API int cuEventQuery(void *e) { ENTER(); return ((event *)e)->done == ((event *)e)->recorded ? OK : NOT_READY; }
API int cuEventSynchronize(void *e)
{
    ENTER();
    count.waits++;
    for (int i = -1; i < 64; i++)
        if (i < 0 || known[i]) drain(i < 0 ? &legacy : known[i], e);
    return OK;
}
API int cuStreamSynchronize(void *handle)
{
    ENTER();
    count.waits++;
    stream *s = stream_of(handle);
    if (!s) return INVALID_HANDLE;
    if (s->capturing) return CAPTURE_UNSUPPORTED;
    drain(s, NULL);
    return OK;
}
API int cuStreamIsCapturing(void *handle, int *capturing)
{
    ENTER();
    stream *s = stream_of(handle);
    if (!s) return INVALID_HANDLE;
    *capturing = s->capturing;
    return OK;
}

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

API int cuCtxSetCurrent(void *c) { if (!c) depth = 0; else if (depth) stack[depth - 1] = c; else stack[depth++] = c; return OK; }
API int cuDeviceGetName(char *name, int length, int device)
{
    (void)device;
    strncpy(name, "fake", (size_t)length);
    return OK;
}
/* The bench holds a stream back by such a function; here nothing would ever let it go on. */
API int cuLaunchHostFunc(void *s, void (*function)(void *), void *data) { (void)s, (void)function, (void)data; return OK; }
API int cuEventElapsedTime(float *ms, void *from, void *to) { (void)from, (void)to; *ms = 1; return OK; }
API int cuStreamCreate(void **out, unsigned flags)
{
    (void)flags;
    for (int i = 0; i < 64; i++) {
        if (known[i]) continue;
        stream *s = calloc(1, sizeof *s);
        s->owner = current();
        *out = known[i] = s;
        return OK;
    }
    return OUT_OF_MEMORY;
}
API int cuStreamDestroy_v2(void *s)
{
    for (int i = 0; i < 64; i++)
        if (s && known[i] == s) {
            drain(s, NULL);
            known[i] = NULL;
            free(s);
            return OK;
        }
    return INVALID_HANDLE;
}
API int cuStreamBeginCapture_v2(void *s, int mode)
{
    (void)mode;
    if (!stream_of(s)) return INVALID_HANDLE;
    ((stream *)s)->capturing = 1;
    ((stream *)s)->graph = calloc(1, sizeof(graph));
    return OK;
}
API int cuStreamEndCapture(void *s, void **out)
{
    *out = ((stream *)s)->graph;
    ((stream *)s)->capturing = 0;
    return OK;
}
API int cuGraphInstantiateWithFlags(void **out, void *g, unsigned long long flags)
{
    (void)flags;
    graph *copy = malloc(sizeof *copy);
    memcpy(copy, g, sizeof *copy);
    *out = copy;
    return OK;
}
API int cuGraphLaunch(void *executable, void *s)
{
    graph *g = executable;
    for (int i = 0; i < g->length; i++) {
        int r = enqueue(s, g->nodes[i]);
        if (r) return r;
    }
    return OK;
}
API int cuGraphExecDestroy(void *executable) { free(executable); return OK; }
API int cuGraphDestroy(void *g) { free(g); return OK; }
