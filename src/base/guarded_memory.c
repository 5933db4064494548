/* Memory between guards: a script's stray index lands in a canary, and the next build says so. */
#include "base/guarded_memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD = 64 }; /* bytes on either side, and the alignment of the memory */

static const uint64_t CANARY = UINT64_C(0x9d6e6d6574617c5a);

static void write_guard(char *guard)
{
    for (size_t i = 0; i < GUARD; i += sizeof CANARY) memcpy(guard + i, &CANARY, sizeof CANARY);
}

static uint64_t guard_damage(const char *guard)
{
    uint64_t word, damage = 0;
    for (size_t i = 0; i < GUARD; i += sizeof word) {
        memcpy(&word, guard + i, sizeof word);
        damage |= word ^ CANARY;
    }
    return damage;
}

size_t gdn_guarded_bytes(size_t bytes)
{
    return bytes + 4 * GUARD;
}

/* calloc, not aligned_alloc and memset: a large table should cost pages only where it is used. */
void *gdn_guarded_new(size_t bytes)
{
    if (bytes > SIZE_MAX - 4 * GUARD) return NULL;
    char *origin = calloc(1, gdn_guarded_bytes(bytes));
    if (!origin) return NULL;
    char *memory = origin + 3 * GUARD - (uintptr_t)origin % GUARD;
    memcpy(memory - GUARD - sizeof origin, &origin, sizeof origin);
    write_guard(memory - GUARD);
    write_guard(memory + bytes);
    return memory;
}

void gdn_guarded_free(void *memory)
{
    char *origin;
    if (!memory) return;
    memcpy(&origin, (char *)memory - GUARD - sizeof origin, sizeof origin);
    free(origin);
}

int gdn_guarded_intact(const void *memory, size_t bytes)
{
    const char *m = memory;
    return !(guard_damage(m - GUARD) | guard_damage(m + bytes));
}
