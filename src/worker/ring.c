/* A ring of records between two processes that need not trust each other. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "worker/ring.h"

#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { PREFIX = 8, SPARE = 1 << 20 };

static int is_record(const gdn_ring *ring, int64_t bytes)
{
    return bytes > 0 && bytes % 8 == 0 && bytes <= ring->largest;
}

/* Room for one record, and for another one unless that is large. */
uint64_t gdn_ring_capacity(int64_t largest)
{
    int64_t one = largest + PREFIX;
    return (uint64_t)(one + (one < SPARE ? one : SPARE) + 63) / 64 * 64;
}

static void copy_in(gdn_ring *ring, const void *from, size_t bytes)
{
    size_t at = (size_t)(ring->position % ring->capacity), first = (size_t)ring->capacity - at;
    first = bytes < first ? bytes : first;
    memcpy(ring->data + at, from, first);
    memcpy(ring->data, (const char *)from + first, bytes - first);
    ring->position += bytes;
}

static void copy_out(const gdn_ring *ring, uint64_t position, void *to, size_t bytes)
{
    size_t at = (size_t)(position % ring->capacity), first = (size_t)ring->capacity - at;
    first = bytes < first ? bytes : first;
    memcpy(to, ring->data + at, first);
    memcpy((char *)to + first, ring->data, bytes - first);
}

gdn_status gdn_ring_write(gdn_ring *ring, const void *record, int64_t bytes)
{
    if (!is_record(ring, bytes)) return GDN_EINVAL;
    uint64_t used = ring->position - atomic_load_explicit(&ring->shared->read, memory_order_acquire);
    if (used > ring->capacity) return GDN_EGUARD;
    if ((uint64_t)bytes + PREFIX > ring->capacity - used) return GDN_ECAP;
    copy_in(ring, &bytes, PREFIX);
    copy_in(ring, record, (size_t)bytes);
    atomic_store_explicit(&ring->shared->written, ring->position, memory_order_release);
    gdn_ring_wake(ring);
    return GDN_OK;
}

int32_t gdn_ring_read(gdn_ring *ring, void *out, int64_t size)
{
    int64_t bytes;
    uint64_t there = atomic_load_explicit(&ring->shared->written, memory_order_acquire) - ring->position;
    if (there == 0) return 0;
    if (there > ring->capacity || there < PREFIX) return GDN_EGUARD;
    copy_out(ring, ring->position, &bytes, PREFIX);
    if (!is_record(ring, bytes) || (uint64_t)bytes > there - PREFIX) return GDN_EGUARD;
    if (bytes > size) return GDN_ECAP;
    copy_out(ring, ring->position + PREFIX, out, (size_t)bytes);
    ring->position += (uint64_t)bytes + PREFIX;
    atomic_store_explicit(&ring->shared->read, ring->position, memory_order_release);
    return (int32_t)bytes;
}

void gdn_ring_sleep(gdn_ring *ring, uint32_t wake, double seconds)
{
    struct timespec time = { .tv_sec = (time_t)seconds };
    time.tv_nsec = (long)((seconds - (double)time.tv_sec) * 1e9);
    (void)syscall(SYS_futex, &ring->shared->wake, FUTEX_WAIT, wake, &time, NULL, 0);
}

/* The reader says that it sleeps, and then looks once more; the writer writes, and then looks whether it sleeps. In
 * one order of all these, one of both sees the other. */
void gdn_ring_wake(gdn_ring *ring)
{
    atomic_fetch_add(&ring->shared->wake, 1);
    if (atomic_load(&ring->shared->sleeps))
        (void)syscall(SYS_futex, &ring->shared->wake, FUTEX_WAKE, 1, NULL, NULL, 0);
}
