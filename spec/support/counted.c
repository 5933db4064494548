/* Adds up what the core asks the allocator for and gives back, and refuses it where a spec says so; puts it in front
 * of a page that nobody may touch; ages a builder.
 * Linked to the core's objects, whose calls the linker sends here (build/libgdncounted.so). */
#define _GNU_SOURCE
#include "builder/builder.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__real_realloc(void *p, size_t size);
void __real_free(void *p);

static int64_t bytes, live;
static int64_t calls, fail_at; /* the call that finds no memory, and all behind it; 0: none */
static int fail_once;          /* not those behind it */

static int fails(void)
{
    calls++;
    return fail_at && (fail_once ? calls == fail_at : calls >= fail_at);
}

/* Memory at the end of a page: who reads past it dies, as does who gives it back after writing past it. Of up to 15
 * bytes in between, which alignment wants, none is 0. */
enum { PAGE = 65536, MOST_ENDED = 4096, ALIGNMENT = 16, FILL = 0xa5 };

static struct ended {
    char *memory, *origin;
    size_t size, length;
} ended[MOST_ENDED];
static int num_ended, at_page_ends;

static void *new_at_page_end(size_t size)
{
    size_t padded = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1), length = (padded + PAGE - 1) / PAGE * PAGE;
    if (num_ended == MOST_ENDED) return NULL;
    char *origin = mmap(NULL, length + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (origin == MAP_FAILED) return NULL;
    char *memory = origin + length - padded;
    memset(memory + size, FILL, padded - size);
    if (mprotect(origin + length, PAGE, PROT_NONE)) abort();
    ended[num_ended++] = (struct ended){ memory, origin, size, length + PAGE };
    return memory;
}

static int free_at_page_end(void *p)
{
    for (int i = 0; p && i < num_ended; i++) {
        struct ended *e = &ended[i];
        if (e->memory != p) continue;
        for (unsigned char *k = (unsigned char *)p + e->size; (uintptr_t)k % ALIGNMENT; k++)
            if (*k != FILL) abort();
        munmap(e->origin, e->length);
        *e = ended[--num_ended];
        return 1;
    }
    return 0;
}

static void *count(void *p)
{
    live += p != NULL;
    return p;
}

void *__wrap_malloc(size_t size)
{
    bytes += (int64_t)size;
    return fails() ? NULL : count(at_page_ends ? new_at_page_end(size) : __real_malloc(size));
}

void *__wrap_calloc(size_t n, size_t size)
{
    bytes += (int64_t)(n * size);
    return fails() ? NULL : count(at_page_ends ? new_at_page_end(n * size) : __real_calloc(n, size));
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
    if (!free_at_page_end(p)) __real_free(p);
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
    calls = 0, fail_at = n, fail_once = 0;
}

/* From now on the n-th allocation finds no memory, and those behind it do. */
__attribute__((visibility("default"))) void gdn_counted_fail_once(int64_t n)
{
    calls = 0, fail_at = n, fail_once = 1;
}

/* From now on pieces of memory that malloc and calloc give end where a page does. */
__attribute__((visibility("default"))) void gdn_counted_page_ends(int wanted)
{
    at_page_ends = wanted;
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

#include "looks.h"
