/* Two rings in memory that two processes share. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "worker/record.h"
#include "worker/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { CHANNEL_MAGIC = 0x434e4447, DATA_AT = 4096, SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL };
static const double LONGEST_SLEEP = 1.0; /* seconds; a peer that dies wakes nobody */

typedef struct side {
    _Alignas(64) _Atomic int32_t beats; /* may wrap */
    _Atomic uint32_t closed;
} side;

typedef struct shared {
    uint32_t magic, version;
    _Atomic int32_t peer_version; /* of the worker; these three stand here in every version */
    int32_t reserved;
    int64_t bytes;      /* of the whole memory */
    int64_t largest[2]; /* record of each ring: to the worker, to the engine */
    _Atomic uint32_t is_open;
    gdn_ring_shared ring[2]; /* to the worker, to the engine */
    side side[2];            /* the engine's, the worker's */
} shared;

/* Where both processes of a version look. */
_Static_assert(offsetof(shared, is_open) == 40, "the head");
_Static_assert(offsetof(shared, ring) == 64, "the rings");
_Static_assert(sizeof(shared) == 448, "both sides");

struct gdn_channel {
    shared *shared;
    gdn_ring out, in;
    int64_t bytes;
    int32_t is_worker, descriptor;
    int32_t is_closed; /* this side: never taken from the shared memory */
};

/* Bytes that a record may have at most. */
static int is_size(int64_t largest)
{
    return largest > 0 && largest <= GDN_RECORD_MOST && largest % 8 == 0;
}

static int64_t channel_bytes(const int64_t *largest)
{
    return DATA_AT + (int64_t)(gdn_ring_capacity(largest[0]) + gdn_ring_capacity(largest[1]));
}

static void adopt(gdn_channel *c, const int64_t *largest)
{
    char *data = (char *)c->shared + DATA_AT;
    gdn_ring rings[2];
    for (int i = 0; i < 2; i++) {
        rings[i] = (gdn_ring){ .shared = &c->shared->ring[i], .data = data, .largest = largest[i],
                               .capacity = gdn_ring_capacity(largest[i]) };
        data += rings[i].capacity;
    }
    c->out = rings[c->is_worker ? 1 : 0], c->in = rings[c->is_worker ? 0 : 1];
}

static gdn_status map(gdn_channel *c, int descriptor, gdn_error *error)
{
    void *memory = mmap(NULL, (size_t)c->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (memory == MAP_FAILED)
        GDN_FAIL(error, GDN_ENOMEM, "cannot map %lld bytes: %s", (long long)c->bytes, strerror(errno));
    c->shared = memory;
    return GDN_OK;
}

static gdn_status make(gdn_channel *c, const int64_t *largest, gdn_error *error)
{
    const char *names[] = { "step_bytes", "result_bytes" };
    for (int i = 0; i < 2; i++)
        if (!is_size(largest[i]))
            GDN_REFUSE(error, "%s = %lld, want 8 .. %lld, a multiple of 8", names[i], (long long)largest[i],
                       (long long)GDN_RECORD_MOST);
    c->bytes = channel_bytes(largest);
    c->descriptor = memfd_create("gdnmeta", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (c->descriptor < 0) GDN_FAIL(error, GDN_ENOMEM, "memfd_create: %s", strerror(errno));
    if (ftruncate(c->descriptor, c->bytes) || fcntl(c->descriptor, F_ADD_SEALS, SEALS))
        GDN_FAIL(error, GDN_ENOMEM, "a channel of %lld bytes: %s", (long long)c->bytes, strerror(errno));
    gdn_status status = map(c, c->descriptor, error);
    if (status) return status;
    shared *s = c->shared;
    s->bytes = c->bytes, s->largest[0] = largest[0], s->largest[1] = largest[1];
    s->version = GDN_WORKER_VERSION, s->magic = CHANNEL_MAGIC;
    adopt(c, largest);
    return GDN_OK;
}

gdn_status gdn_channel_new(int64_t step_bytes, int64_t result_bytes, gdn_channel **out, char *why, size_t why_size)
{
    gdn_error error = { "out = NULL, want a place for the channel" };
    if (!out) return gdn_record_refuse(&error, GDN_EINVAL, why, why_size);
    gdn_channel *c = calloc(1, sizeof *c);
    int64_t largest[2] = { step_bytes, result_bytes };
    if (c) c->descriptor = -1;
    gdn_status status = c ? make(c, largest, &error) : gdn_fail(&error, GDN_ENOMEM, "no memory for a channel");
    if (status) {
        gdn_channel_free(c);
        return gdn_record_refuse(&error, status, why, why_size);
    }
    *out = c;
    return GDN_OK;
}

/* Sealed, so that it cannot be cut short under the reader; whole; of this version; and its sizes are what its length
 * says. They are read once. */
static gdn_status open_at(gdn_channel *c, int descriptor, gdn_error *error)
{
    struct stat file;
    if (fstat(descriptor, &file)) GDN_REFUSE(error, "descriptor %d: %s", descriptor, strerror(errno));
    int seals = fcntl(descriptor, F_GET_SEALS);
    if (seals < 0 || (seals & SEALS) != SEALS || file.st_size < DATA_AT)
        GDN_REFUSE(error, "descriptor %d is no channel of gdnmeta", descriptor);
    c->bytes = file.st_size;
    gdn_status status = map(c, descriptor, error);
    if (status) return status;
    const shared *s = c->shared;
    int64_t largest[2] = { s->largest[0], s->largest[1] };
    if (s->magic != CHANNEL_MAGIC) GDN_REFUSE(error, "descriptor %d is no channel of gdnmeta", descriptor);
    atomic_store(&c->shared->peer_version, GDN_WORKER_VERSION);
    if (s->version != GDN_WORKER_VERSION)
        GDN_FAIL(error, GDN_EVERSION, "a channel of version %u, want %d", s->version, GDN_WORKER_VERSION);
    for (int i = 0; i < 2; i++)
        if (!is_size(largest[i]))
            GDN_REFUSE(error, "a channel for records of %lld bytes", (long long)largest[i]);
    if (channel_bytes(largest) != c->bytes)
        GDN_REFUSE(error, "a channel of %lld bytes, want %lld", (long long)c->bytes, (long long)channel_bytes(largest));
    if (atomic_exchange(&c->shared->is_open, 1)) GDN_REFUSE(error, "another worker has opened the channel");
    c->is_worker = 1;
    adopt(c, largest);
    return GDN_OK;
}

gdn_status gdn_channel_open(int32_t descriptor, gdn_channel **out, char *why, size_t why_size)
{
    gdn_error error = { "out = NULL, want a place for the channel" };
    if (!out) return gdn_record_refuse(&error, GDN_EINVAL, why, why_size);
    gdn_channel *c = calloc(1, sizeof *c);
    if (c) c->descriptor = -1;
    gdn_status status = c ? open_at(c, descriptor, &error) : gdn_fail(&error, GDN_ENOMEM, "no memory for a channel");
    if (status) {
        if (c) c->is_closed = 1; /* it was not this side's */
        gdn_channel_free(c);
        return gdn_record_refuse(&error, status, why, why_size);
    }
    *out = c;
    return GDN_OK;
}

void gdn_channel_close(gdn_channel *c)
{
    if (!c || !c->shared || c->is_closed) return;
    c->is_closed = 1;
    atomic_store(&c->shared->side[c->is_worker].closed, 1);
    gdn_ring_wake(&c->out);
}

void gdn_channel_free(gdn_channel *c)
{
    if (!c) return;
    gdn_channel_close(c);
    if (c->shared) munmap(c->shared, (size_t)c->bytes);
    if (c->descriptor >= 0) close(c->descriptor);
    free(c);
}

int32_t gdn_channel_descriptor(const gdn_channel *c)
{
    return c ? c->descriptor : -1;
}

int32_t gdn_channel_largest(const gdn_channel *c, int32_t receive)
{
    return !c ? 0 : (int32_t)(receive ? c->in.largest : c->out.largest);
}

static int peer_closed(gdn_channel *c)
{
    return (int)atomic_load(&c->shared->side[!c->is_worker].closed);
}

gdn_status gdn_channel_send(gdn_channel *c, const void *record, int64_t bytes)
{
    if (!c || !record) return GDN_EINVAL;
    if (c->is_closed || peer_closed(c)) return GDN_ECLOSED;
    return gdn_ring_write(&c->out, record, bytes);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* What the other side wrote before it closed is read still. */
static int32_t look(gdn_channel *c, void *out, int64_t size)
{
    int closed = c->is_closed || peer_closed(c);
    int32_t bytes = gdn_ring_read(&c->in, out, size);
    return bytes == 0 && closed ? GDN_ECLOSED : bytes;
}

int32_t gdn_channel_receive(gdn_channel *c, void *out, int64_t size, double seconds)
{
    if (!c || !out) return GDN_EINVAL;
    int32_t bytes = look(c, out, size);
    if (bytes || !(seconds > 0)) return bytes;
    gdn_ring_shared *ring = c->in.shared;
    double end = now() + seconds, left = seconds;
    for (; left > 0; left = end - now()) {
        uint32_t wake = atomic_load(&ring->wake);
        atomic_store(&ring->sleeps, 1);
        bytes = look(c, out, size);
        if (bytes) break;
        gdn_ring_sleep(&c->in, wake, left < LONGEST_SLEEP ? left : LONGEST_SLEEP);
    }
    atomic_store(&ring->sleeps, 0);
    return bytes ? bytes : look(c, out, size);
}

int32_t gdn_channel_peer_version(const gdn_channel *c)
{
    return c ? atomic_load(&c->shared->peer_version) : 0;
}

void gdn_channel_beat(gdn_channel *c)
{
    if (c) atomic_fetch_add(&c->shared->side[c->is_worker].beats, 1);
}

int32_t gdn_channel_beats(const gdn_channel *c)
{
    return c ? atomic_load(&c->shared->side[!c->is_worker].beats) : 0;
}
