/* A fuzzer's input as a source of choices; it gives zeros once it is used up. */
#ifndef FUZZ_BYTES_H
#define FUZZ_BYTES_H

#include <stddef.h>
#include <stdint.h>

typedef struct fuzz_bytes {
    const uint8_t *at, *end;
} fuzz_bytes;

static inline uint32_t fuzz_byte(fuzz_bytes *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

/* A number in low .. high: of one byte where that spans the range, else of two. */
static inline int32_t fuzz_between(fuzz_bytes *in, int32_t low, int32_t high)
{
    uint32_t span = (uint32_t)(high - low) + 1, value = fuzz_byte(in);
    if (span > 256) value = value << 8 | fuzz_byte(in);
    return low + (int32_t)(value % span);
}

/* True once in n, and never when the input is used up: what is left out is ordinary. */
static inline int fuzz_once_in(fuzz_bytes *in, int32_t n)
{
    return fuzz_between(in, 0, n - 1) == n - 1;
}

/* Any number at all: those near the ends of int32 and near zero come often. */
static inline int32_t fuzz_wild(fuzz_bytes *in)
{
    static const int32_t EDGES[] = { -1, 0, 1, 2, -2, INT32_MAX, INT32_MIN, INT32_MAX - 1, 1 << 16, 1 << 30 };
    uint32_t value = fuzz_byte(in);
    if (value < 128) return EDGES[value % (sizeof EDGES / sizeof *EDGES)];
    for (int i = 0; i < 3; i++) value = value << 8 | fuzz_byte(in);
    return (int32_t)value;
}

#endif
