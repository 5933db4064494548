/* Host memory that the device reaches in place: the fault words, the word of a check, and a ring of buffers for
 * payloads that no launch can carry. A buffer is guarded by an event until the fill that reads it is done. */
#ifndef GDN_CUDA_RING_H
#define GDN_CUDA_RING_H

#include "cuda/cuda_driver.h"

enum { GDN_RING_BUFFERS = 4, GDN_RING_FAULT_BYTES = 256, GDN_RING_FOUND = 128 };

typedef struct gdn_ring {
    char *memory;      /* [GDN_RING_FAULT_BYTES, buffers ...]; what checks find stands at GDN_RING_FOUND */
    uint64_t device;   /* the same, as the device sees it */
    size_t bytes;      /* of all of it */
    size_t buffer_bytes; /* 0: no step needs the ring */
    void *events[GDN_RING_BUFFERS];
    int32_t in_flight[GDN_RING_BUFFERS];
    int32_t next;      /* the buffer that was used longest ago */
} gdn_ring;

/* What a ring for such payloads takes. */
size_t gdn_ring_bytes(size_t most_bytes);

/* most_bytes: of the largest payload that no launch holds, or 0. */
gdn_status gdn_ring_new(gdn_ring *ring, const gdn_driver *driver, size_t most_bytes, gdn_error *error);
void gdn_ring_free(gdn_ring *ring, const gdn_driver *driver);

/* A buffer that nothing reads any more. Waits for the device only where all of them are in flight, and
 * then counts that in *waits. */
gdn_status gdn_ring_take(gdn_ring *ring, const gdn_driver *driver, int32_t *buffer, int64_t *waits, gdn_error *error);

/* What was enqueued on `stream` reads the buffer. Waits for it where no event can be had, which *waits counts. */
gdn_status gdn_ring_guard(gdn_ring *ring, const gdn_driver *driver, int32_t buffer, void *stream, int64_t *waits,
                          gdn_error *error);

/* Offset of a buffer from both ring->memory and ring->device. */
size_t gdn_ring_offset(const gdn_ring *ring, int32_t buffer);

#endif
