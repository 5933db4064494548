/* Memory of the device and of the host: guarded, poisoned, and out of reach but while work that names it runs. */
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#include "fakecuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HOST_PORTABLE = 1u, HOST_MAPPED = 2u };
enum { OBJECTS = 4096, PAGE = 4096, GUARD = 64 };
static const unsigned char POISON = 0xa5, CANARY = 0xc3;

static memory blocks[OBJECTS];
static int used; /* blocks[used ..] are free */

static size_t mapped_bytes(size_t bytes) { return PAGE + (bytes + GUARD + PAGE - 1) / PAGE * PAGE; }

memory *find(uint64_t p, size_t bytes)
{
    for (int i = 0; i < used; i++) {
        uint64_t base = (uint64_t)(uintptr_t)blocks[i].base;
        if (base && p >= base && p - base <= blocks[i].bytes && bytes <= blocks[i].bytes - (p - base))
            return &blocks[i];
    }
    return NULL;
}

static memory *opened[256];
static int num_opened;
void reach(uint64_t p)
{
    memory *m = p ? find(p, 1) : NULL;
    if (p && !m) { /* by now it may be memory of the VM, which no sanitizer watches */
        (void)fprintf(stderr, "fakecuda: work names memory that is gone: %#llx\n", (unsigned long long)p);
        abort();
    }
    for (int i = 0; i < num_opened; i++)
        if (opened[i] == m) return;
    if (!m || m->on_host || num_opened == 256) return;
    (void)mprotect(m->base - PAGE, mapped_bytes(m->bytes), PROT_READ | PROT_WRITE);
    opened[num_opened++] = m;
}
void let_go(void)
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

void give_back_all_of(const context *owner)
{
    for (int i = 0; i < OBJECTS; i++)
        if (blocks[i].base && blocks[i].owner == owner) give_back(&blocks[i]);
}

/* ---- the calls of gdnmeta ---- */

API int cuMemAlloc_v2(uint64_t *out, size_t bytes)
{
    void *p;
    ENTER();
    int r = allocate(&p, bytes, 0);
    if (!r) *out = (uint64_t)(uintptr_t)p;
    return r;
}
/* Who gives back memory looks at no code: nothing but this would notice. What went with its context may come late. */
static int free_block(uint64_t p, int on_host)
{
    drain_all();
    memory *m = find(p, 0);
    if (!p || (m && ((uint64_t)(uintptr_t)m->base != p || m->on_host != on_host))) {
        (void)fprintf(stderr, "fakecuda: memory is given back that is not there: %#llx\n", (unsigned long long)p);
        abort();
    }
    if (!m) return INVALID_VALUE;
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
static int is_known(const void *p, size_t bytes) { return find((uint64_t)(uintptr_t)p, bytes) != NULL; }

/* A copy from or to the host's pageable memory is over when the call returns: that memory may be the VM's, which
 * frees it once the caller is done with it. */
static int copy(void *to, const void *from, size_t bytes, uint64_t device, void *s)
{
    count.copies++;
    if (!find(device, bytes)) return INVALID_VALUE;
    int r = enqueue(s, (operation){ .kind = COPY, .to = to, .from = from, .bytes = bytes });
    if (!r && !(is_known(to, bytes) && is_known(from, bytes))) drain_stream(s);
    return r;
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
