/* Memory between guards: a script's stray index lands in a canary, and the next build says so. */
#include "base/guarded_memory.h"

#include "base/simd_range.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD = 64, WORDS = GUARD / 8 }; /* bytes on either side, and the alignment of the memory */

static const uint64_t CANARY = UINT64_C(0x9d6e6d6574617c5a);

static void write_guard(char *guard)
{
    for (size_t i = 0; i < GUARD; i += sizeof CANARY) memcpy(guard + i, &CANARY, sizeof CANARY);
}

/* Word by word, so that the guards of many arrays join in vectors. */
static inline void add_damage(const char *guard, uint64_t *damage)
{
    for (size_t i = 0; i < WORDS; i++) {
        uint64_t word;
        memcpy(&word, guard + i * sizeof word, sizeof word);
        damage[i] |= word ^ CANARY;
    }
}

static inline int is_any_set(const uint64_t *damage)
{
    uint64_t all = 0;
    for (size_t i = 0; i < WORDS; i++) all |= damage[i];
    return all != 0;
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
    uint64_t damage[WORDS] = { 0 };
    add_damage(m - GUARD, damage);
    add_damage(m + bytes, damage);
    return !is_any_set(damage);
}

GDN_WIDE static int is_any_damaged(int32_t *const *arrays, int n, size_t bytes)
{
    uint64_t damage[WORDS] = { 0 };
    for (int i = 0; i < n; i++) {
        const char *m = (const char *)arrays[i];
        add_damage(m - GUARD, damage);
        add_damage(m + bytes, damage);
    }
    return is_any_set(damage);
}

int gdn_guarded_damaged(int32_t *const *arrays, int n, size_t bytes)
{
    if (!is_any_damaged(arrays, n, bytes)) return -1;
    for (int i = 0; i < n; i++)
        if (!gdn_guarded_intact(arrays[i], bytes)) return i;
    return -1;
}
