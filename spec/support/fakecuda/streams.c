/* Streams, events and graphs: lists of work, which runs when it is enqueued or, held back, when a call waits. */
#include "fakecuda.h"

#include <stdlib.h>
#include <string.h>

enum { EVENT_DISABLE_TIMING = 2u };

typedef struct event { long recorded, done; } event;
typedef struct stream {
    operation queue[64];
    int length, capturing;
    uint64_t id; /* 0: the legacy stream; a handle comes again, a number never does */
    context *owner;
    struct graph *graph;
} stream;
typedef struct graph { operation nodes[64]; int length; } graph;
static stream legacy;
static stream streams[64]; /* the first that is free is given out: a destroyed stream's handle comes again at once */
static stream *known[64];
static int held;
API void fake_hold(int on) { held = on; }

static void run(operation *o)
{
    if (o->kind == LAUNCH) {
        run_launch(o);
    } else if (o->kind == CHECK) {
        run_checks(o);
    } else if (o->kind == BRING) {
        run_bring(o);
    } else if (o->kind == SET) {
        reach((uint64_t)(uintptr_t)o->to);
        memset(o->to, o->kernel, o->bytes);
    } else if (o->kind == COPY) {
        if (find((uint64_t)(uintptr_t)o->to, 1)) reach((uint64_t)(uintptr_t)o->to);
        if (find((uint64_t)(uintptr_t)o->from, 1)) reach((uint64_t)(uintptr_t)o->from);
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

void drain_all(void)
{
    for (int i = 0; i < 64; i++)
        if (known[i]) drain(known[i], NULL);
    drain(&legacy, NULL);
}

static stream *stream_of(void *handle)
{
    if (!handle) return &legacy;
    for (int i = 0; i < 64; i++)
        if (known[i] == handle) return handle;
    return NULL;
}

void drain_stream(void *handle)
{
    stream *s = stream_of(handle);
    if (s && !s->capturing) drain(s, NULL);
}

int enqueue(void *handle, operation o)
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

API int cuEventCreate(void **out, unsigned flags)
{
    ENTER();
    if (flags != EVENT_DISABLE_TIMING) return INVALID_VALUE; /* times are not taken here */
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
API int cuStreamGetId(void *handle, uint64_t *id)
{
    ENTER();
    stream *s = stream_of(handle);
    if (!s) return INVALID_HANDLE;
    *id = s->id;
    return OK;
}

/* ---- further calls, for the specs alone ---- */

/* The bench holds a stream back by such a function; here nothing would ever let it go on. */
API int cuLaunchHostFunc(void *s, void (*function)(void *), void *data)
{
    (void)s, (void)function, (void)data;
    return OK;
}
API int cuEventElapsedTime(float *ms, void *from, void *to) { (void)from, (void)to; *ms = 1; return OK; }
API int cuStreamCreate(void **out, unsigned flags)
{
    (void)flags;
    for (int i = 0; i < 64; i++) {
        if (known[i]) continue;
        static uint64_t created;
        streams[i] = (stream){ .owner = current(), .id = ++created };
        *out = known[i] = &streams[i];
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
        operation o = g->nodes[i];
        if (o.launch) o.launch = memcpy(aligned_alloc(16, o.launch_bytes), o.launch, o.launch_bytes);
        int r = enqueue(s, o);
        if (r) return r;
    }
    return OK;
}
API int cuGraphExecDestroy(void *executable)
{
    graph *g = executable;
    for (int i = 0; i < g->length; i++) free(g->nodes[i].launch);
    free(g);
    return OK;
}
API int cuGraphDestroy(void *g) { free(g); return OK; }
