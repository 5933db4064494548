/* One way of a channel: a ring of bytes in shared memory. A record in it is its length, 8 bytes, and itself; both may
 * go round the end. Positions only grow. */
#ifndef GDN_RING_H
#define GDN_RING_H

#include "gdnmeta_worker.h"

#include <stdatomic.h>

/* What both sides see. Each line is written by one side alone. */
typedef struct gdn_ring_shared {
    _Alignas(64) _Atomic uint64_t written; /* by the writer */
    _Atomic uint32_t wake;                 /* changes with every record: what a reader sleeps on */
    _Alignas(64) _Atomic uint64_t read;    /* by the reader */
    _Atomic uint32_t sleeps;               /* 1: the reader may be asleep */
} gdn_ring_shared;

/* What one side keeps for itself. */
typedef struct gdn_ring {
    gdn_ring_shared *shared;
    char *data;       /* [capacity] */
    uint64_t capacity;
    uint64_t position; /* written, or read, so far: this side's own, never taken from the shared memory */
    int64_t largest;  /* bytes of a record */
} gdn_ring;

/* Bytes of a ring for records of up to `largest`. */
uint64_t gdn_ring_capacity(int64_t largest);

gdn_status gdn_ring_write(gdn_ring *ring, const void *record, int64_t bytes);

/* 0: it is empty. */
int32_t gdn_ring_read(gdn_ring *ring, void *out, int64_t size);

/* Sleep until the ring has changed since `wake`, or so many seconds are over; may return earlier. */
void gdn_ring_sleep(gdn_ring *ring, uint32_t wake, double seconds);
void gdn_ring_wake(gdn_ring *ring);

#endif
