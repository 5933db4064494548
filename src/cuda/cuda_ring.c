/* The ring of mapped buffers. */
#include "cuda/cuda_ring.h"

#include <string.h>

static size_t buffer_bytes(size_t most_bytes)
{
    return (most_bytes + 255) & ~(size_t)255;
}

size_t gdn_ring_bytes(size_t most_bytes)
{
    return GDN_RING_FAULT_BYTES + GDN_RING_BUFFERS * buffer_bytes(most_bytes);
}

gdn_status gdn_ring_new(gdn_ring *ring, const gdn_driver *driver, size_t most_bytes, gdn_error *error)
{
    void *memory = NULL;
    ring->buffer_bytes = buffer_bytes(most_bytes);
    ring->bytes = gdn_ring_bytes(most_bytes);
    gdn_cu r = driver->cuMemHostAlloc(&memory, ring->bytes, GDN_CU_HOST_PORTABLE | GDN_CU_HOST_MAPPED);
    if (r) GDN_DRIVER_FAIL(driver, error, r, "cuMemHostAlloc of %zu bytes", ring->bytes);
    ring->memory = memory;
    memset(memory, 0, ring->bytes);
    if ((r = driver->cuMemHostGetDevicePointer(&ring->device, memory, 0)))
        GDN_DRIVER_FAIL(driver, error, r, "cuMemHostGetDevicePointer");
    for (int32_t i = 0; ring->buffer_bytes && i < GDN_RING_BUFFERS; i++)
        if ((r = driver->cuEventCreate(&ring->events[i], GDN_CU_EVENT_DISABLE_TIMING)))
            GDN_DRIVER_FAIL(driver, error, r, "cuEventCreate");
    return GDN_OK;
}

void gdn_ring_free(gdn_ring *ring, const gdn_driver *driver)
{
    for (int32_t i = 0; i < GDN_RING_BUFFERS; i++) {
        if (ring->in_flight[i]) (void)driver->cuEventSynchronize(ring->events[i]);
        if (ring->events[i]) (void)driver->cuEventDestroy(ring->events[i]);
    }
    if (ring->memory) (void)driver->cuMemFreeHost(ring->memory);
}

/* Only the oldest can be expected to be done, but streams may overtake each other. */
gdn_status gdn_ring_take(gdn_ring *ring, const gdn_driver *driver, int32_t *buffer, int64_t *waits, gdn_error *error)
{
    for (int32_t n = 0; n < GDN_RING_BUFFERS; n++) {
        int32_t i = (ring->next + n) % GDN_RING_BUFFERS;
        gdn_cu r = ring->in_flight[i] ? driver->cuEventQuery(ring->events[i]) : 0;
        if (r == GDN_CU_NOT_READY) continue;
        if (r) GDN_DRIVER_FAIL(driver, error, r, "cuEventQuery");
        ring->in_flight[i] = 0;
        *buffer = i;
        return GDN_OK;
    }
    ++*waits;
    gdn_cu r = driver->cuEventSynchronize(ring->events[ring->next]);
    if (r) GDN_DRIVER_FAIL(driver, error, r, "cuEventSynchronize");
    ring->in_flight[ring->next] = 0;
    *buffer = ring->next;
    return GDN_OK;
}

/* The fill is on its way and cannot be taken back. Without an event it is unknown when its buffer is free
 * again, so the stream is waited for. */
gdn_status gdn_ring_guard(gdn_ring *ring, const gdn_driver *driver, int32_t buffer, void *stream, int64_t *waits,
                          gdn_error *error)
{
    ring->next = (buffer + 1) % GDN_RING_BUFFERS;
    ring->in_flight[buffer] = !driver->cuEventRecord(ring->events[buffer], stream);
    if (ring->in_flight[buffer]) return GDN_OK;
    ++*waits;
    gdn_cu r = driver->cuStreamSynchronize(stream);
    if (r) GDN_DRIVER_FAIL(driver, error, r, "cuStreamSynchronize");
    return GDN_OK;
}

size_t gdn_ring_offset(const gdn_ring *ring, int32_t buffer)
{
    return GDN_RING_FAULT_BYTES + (size_t)buffer * ring->buffer_bytes;
}
