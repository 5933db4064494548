/* What a launch carries, piece by piece, for specs: arrays as they are packed, and a ring that is copied. Linked to the
 * core's objects (build/libgdncounted.so). */
#include "builder/builder.h"
#include "cuda/packed_arrays.h"

#define EXPORT __attribute__((visibility("default")))

enum { MOST = 4 };

static gdn_packed pack(gdn_packer *p, const int32_t *const *values, const uint32_t *n, uint32_t pieces, int ramp)
{
    gdn_piece list[MOST];
    uint32_t total = 0;
    if (pieces == 1) return ramp ? gdn_pack_ramp(p, values[0], n[0]) : gdn_pack(p, values[0], n[0]);
    for (uint32_t i = 0; i < pieces; total += n[i++])
        list[i] = (gdn_piece){ .values = values[i], .n = n[i], .skip = total };
    return gdn_pack_joined(p, list, pieces, total);
}

/* Arrays packed as one, behind `from` bytes (a multiple of 16) of others: the bytes then, and { at, bits, base, step }.
 * Written to `to`, or compared with it: *same. */
EXPORT int64_t gdn_counted_pack(const int32_t *const *values, const uint32_t *n, uint32_t pieces, int ramp,
                                int64_t from, unsigned char *to, int32_t *packed, int *same)
{
    gdn_piece list[MOST];
    gdn_packer p = { .pieces = list, .most_pieces = MOST, .bytes = (size_t)from };
    gdn_packed a = pack(&p, values, n, pieces, ramp);
    packed[0] = (int32_t)a.at, packed[1] = (int32_t)a.bits, packed[2] = a.base, packed[3] = a.step;
    if (same) *same = gdn_pack_is_at(&p, to);
    else gdn_pack_write(&p, to);
    return (int64_t)p.bytes;
}

/* From now on the builder's ring is copied to its device first, as a benchmark measures it. */
EXPORT int32_t gdn_counted_copy_ring(gdn_builder *b)
{
    return gdn_device_cuda_copy_ring(b->device, &b->error);
}
