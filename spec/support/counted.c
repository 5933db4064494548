/* Adds up what the core asks the allocator for. Linked to the core's objects, whose calls the linker sends here
 * (build/libgdncounted.so). */
#include <stdint.h>
#include <stdlib.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);

static int64_t bytes;

void *__wrap_malloc(size_t size)
{
    bytes += (int64_t)size;
    return __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    bytes += (int64_t)(n * size);
    return __real_calloc(n, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    bytes += (int64_t)size;
    return __real_aligned_alloc(alignment, size);
}

/* Bytes asked for since the last call. */
__attribute__((visibility("default"))) int64_t gdn_counted_bytes(void)
{
    int64_t since = bytes;
    bytes = 0;
    return since;
}
