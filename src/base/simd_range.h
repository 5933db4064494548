/* Testing whole blocks of values for being in range, without branches, so that vectors do it. */
#ifndef GDN_SIMD_RANGE_H
#define GDN_SIMD_RANGE_H

#include <stdint.h>

/* Rows tested at once: as many as there are, in whole vectors; where that fails, ever fewer. */
enum { GDN_VECTOR = 16, GDN_FEW = 4 };

/* Twice as wide vectors where the processor has them; glibc picks the version when the library loads. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define GDN_WIDE __attribute__((target_clones("avx2", "default")))
#else
#define GDN_WIDE
#endif

/* Tests without branches, so that vectors do them: how far a value lies above the lowest one it may have,
 * unsigned, is small exactly when the value is in range, and a maximum joins the rows. */
static inline uint32_t gdn_above(int32_t value, int32_t lowest)
{
    return (uint32_t)value - (uint32_t)lowest;
}

static inline uint32_t gdn_larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

#endif
