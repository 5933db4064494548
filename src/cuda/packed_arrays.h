/* Arrays as narrow as their values allow, back to back: sizes are decided first, for they say
 * where the bytes will lie. */
#ifndef GDN_PACKED_ARRAYS_H
#define GDN_PACKED_ARRAYS_H

#include "base/bound.h"
#include "cuda/kernel_params.h"

#include <stddef.h>

/* One source of a packed array. */
typedef struct gdn_piece {
    const int32_t *values;
    uint32_t n, skip; /* its values are skip .. skip + n - 1 of the array */
    gdn_packed packed;
} gdn_piece;

typedef struct gdn_packer {
    gdn_piece *pieces; /* [most_pieces] */
    uint32_t num_pieces, most_pieces;
    size_t bytes;      /* so far, a multiple of 16 */
} gdn_packer;

static inline size_t gdn_up16(size_t bytes)
{
    return (bytes + 15) & ~(size_t)15;
}

gdn_packed gdn_pack(gdn_packer *p, const int32_t *values, uint32_t n);

/* An array that is often a + i * b, like the starts of rows of one length: then it needs no memory. */
gdn_packed gdn_pack_ramp(gdn_packer *p, const int32_t *values, uint32_t n);

/* One array of `total` values, from n >= 1 pieces that are not empty. */
gdn_packed gdn_pack_joined(gdn_packer *p, const gdn_piece *pieces, uint32_t n, uint32_t total);

void gdn_pack_write(const gdn_packer *p, unsigned char *to);

/* Are these the bytes that gdn_pack_write would write? What lies between arrays does not count. */
int gdn_pack_is_at(const gdn_packer *p, const unsigned char *at);

#endif
