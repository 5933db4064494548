/* Adds up what the core asks the allocator for and gives back, and refuses it where a spec says so; ages a builder.
 * Linked to the core's objects, whose calls the linker sends here (build/libgdncounted.so). */
#include "builder/builder.h"

#include <stdint.h>
#include <stdlib.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__real_realloc(void *p, size_t size);
void __real_free(void *p);

static int64_t bytes, live;
static int64_t calls, fail_at; /* the call that finds no memory, and all behind it; 0: none */

static int fails(void)
{
    return ++calls >= fail_at && fail_at;
}

static void *count(void *p)
{
    live += p != NULL;
    return p;
}

void *__wrap_malloc(size_t size)
{
    bytes += (int64_t)size;
    return fails() ? NULL : count(__real_malloc(size));
}

void *__wrap_calloc(size_t n, size_t size)
{
    bytes += (int64_t)(n * size);
    return fails() ? NULL : count(__real_calloc(n, size));
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    bytes += (int64_t)size;
    return fails() ? NULL : count(__real_aligned_alloc(alignment, size));
}

void *__wrap_realloc(void *p, size_t size)
{
    if (fails()) return NULL;
    return p ? __real_realloc(p, size) : count(__real_realloc(p, size));
}

void __wrap_free(void *p)
{
    live -= p != NULL;
    __real_free(p);
}

/* Pieces of memory that were not given back. */
__attribute__((visibility("default"))) int64_t gdn_counted_live(void)
{
    return live;
}

/* Bytes asked for since the last call. */
__attribute__((visibility("default"))) int64_t gdn_counted_bytes(void)
{
    int64_t since = bytes;
    bytes = 0;
    return since;
}

/* From now on the n-th allocation and those behind it find no memory; 0: all do. */
__attribute__((visibility("default"))) void gdn_counted_fail(int64_t n)
{
    calls = 0, fail_at = n;
}

/* As after as many writes of slots: their stamps are numbers of 32 bits, which a server comes to the end of. */
__attribute__((visibility("default"))) void gdn_counted_stamp(gdn_builder *b, uint32_t stamp)
{
    b->uniqueness.stamp = stamp;
}

/* The next write's: a step whose slots are looked at takes some, one that is known already takes none. */
__attribute__((visibility("default"))) uint32_t gdn_counted_stamp_of(const gdn_builder *b)
{
    return b->uniqueness.stamp;
}

/* As after as many checks: their stamps are numbers of 30 bits. */
__attribute__((visibility("default"))) void gdn_counted_check_stamp(gdn_builder *b, uint32_t stamp)
{
    b->verifier.input.stamp = stamp;
}
