/* Packing: each array is looked at twice and no more, once for its range, once to be written. */
#include "cuda/packed_arrays.h"

#include "base/simd_range.h"

typedef struct range {
    int32_t low, high;
} range;

static const range EMPTY = { INT32_MAX, INT32_MIN };

GDN_WIDE static range range_of(const int32_t *values, uint32_t n, range r)
{
    int32_t low = r.low, high = r.high;
    for (uint32_t i = 0; i < n; i++) {
        low = values[i] < low ? values[i] : low;
        high = values[i] > high ? values[i] : high;
    }
    return (range){ low, high };
}

static uint32_t bits_for(range r)
{
    uint32_t span = (uint32_t)r.high - (uint32_t)r.low;
    return span == 0 ? 0 : span == 1 ? 1 : span < 256 ? 8 : span < 65536 ? 16 : 32;
}

static gdn_packed place(gdn_packer *p, range r, uint32_t bits, size_t n)
{
    gdn_packed a = { .at = (uint32_t)p->bytes, .bits = bits, .base = r.low };
    p->bytes = gdn_up16(p->bytes + (n * bits + 7) / 8);
    return a;
}

static void put(gdn_packer *p, gdn_packed a, const int32_t *values, uint32_t n, uint32_t skip)
{
    if (!a.bits) return;
    GDN_BOUND(p->num_pieces < p->most_pieces, "a step packs more arrays than payload_memory.c counts in PIECES");
    p->pieces[p->num_pieces++] = (gdn_piece){ values, n, skip, a };
}

gdn_packed gdn_pack(gdn_packer *p, const int32_t *values, uint32_t n)
{
    if (!n) return (gdn_packed){ 0 };
    range r = range_of(values, n, EMPTY);
    gdn_packed a = place(p, r, bits_for(r), n);
    put(p, a, values, n, 0);
    return a;
}

GDN_WIDE static int is_ramp(const int32_t *values, uint32_t n, int32_t base, int32_t step)
{
    uint32_t odd = 0;
    for (uint32_t i = 0; i < n; i++) odd |= (uint32_t)values[i] ^ ((uint32_t)base + i * (uint32_t)step);
    return !odd;
}

/* What is no ramp is most often none at its end. */
gdn_packed gdn_pack_ramp(gdn_packer *p, const int32_t *values, uint32_t n)
{
    if (n < 2) return gdn_pack(p, values, n);
    int32_t base = values[0], step = values[1] - values[0];
    int maybe = (uint32_t)values[n - 1] == (uint32_t)base + (n - 1) * (uint32_t)step;
    if (!maybe || !is_ramp(values, n, base, step)) return gdn_pack(p, values, n);
    return (gdn_packed){ .base = base, .step = step };
}

gdn_packed gdn_pack_joined(gdn_packer *p, const gdn_piece *pieces, uint32_t n, uint32_t total)
{
    range r = EMPTY;
    for (uint32_t i = 0; i < n; i++) r = range_of(pieces[i].values, pieces[i].n, r);
    uint32_t bits = bits_for(r);
    gdn_packed a = place(p, r, bits == 1 ? 8 : bits, total); /* pieces meet at any index, bytes do not split */
    for (uint32_t i = 0; i < n; i++) put(p, a, pieces[i].values, pieces[i].n, pieces[i].skip);
    return a;
}

static inline uint32_t flags_of(const int32_t *values, uint32_t n, uint32_t base)
{
    uint32_t flags = 0;
    for (uint32_t j = 0; j < 8 && j < n; j++) flags |= ((uint32_t)values[j] - base) << j;
    return flags;
}

GDN_WIDE static void write_piece(const gdn_piece *piece, unsigned char *to)
{
    const int32_t *values = piece->values;
    uint32_t n = piece->n, base = (uint32_t)piece->packed.base;
    unsigned char *bytes = to + piece->packed.at;
    if (piece->packed.bits == 16) {
        uint16_t *out = (uint16_t *)(void *)bytes + piece->skip;
        for (uint32_t i = 0; i < n; i++) out[i] = (uint16_t)((uint32_t)values[i] - base);
    } else if (piece->packed.bits == 32) {
        uint32_t *out = (uint32_t *)(void *)bytes + piece->skip;
        for (uint32_t i = 0; i < n; i++) out[i] = (uint32_t)values[i] - base;
    } else if (piece->packed.bits == 8) {
        bytes += piece->skip;
        for (uint32_t i = 0; i < n; i++) bytes[i] = (unsigned char)((uint32_t)values[i] - base);
    } else {
        for (uint32_t i = 0; i < n; i += 8) bytes[i / 8] = (unsigned char)flags_of(values + i, n - i, base);
    }
}

/* Differences are gathered without branches, so that the loops become vectors. */
GDN_WIDE static int is_at(const gdn_piece *piece, const unsigned char *at)
{
    const int32_t *values = piece->values;
    uint32_t n = piece->n, base = (uint32_t)piece->packed.base, odd = 0;
    const unsigned char *bytes = at + piece->packed.at;
    if (piece->packed.bits == 16) {
        const uint16_t *have = (const uint16_t *)(const void *)bytes + piece->skip;
        for (uint32_t i = 0; i < n; i++) odd |= have[i] ^ (uint16_t)((uint32_t)values[i] - base);
    } else if (piece->packed.bits == 32) {
        const uint32_t *have = (const uint32_t *)(const void *)bytes + piece->skip;
        for (uint32_t i = 0; i < n; i++) odd |= have[i] ^ ((uint32_t)values[i] - base);
    } else if (piece->packed.bits == 8) {
        bytes += piece->skip;
        for (uint32_t i = 0; i < n; i++) odd |= bytes[i] ^ (unsigned char)((uint32_t)values[i] - base);
    } else {
        for (uint32_t i = 0; i < n; i += 8) odd |= bytes[i / 8] ^ flags_of(values + i, n - i, base);
    }
    return !odd;
}

int gdn_pack_is_at(const gdn_packer *p, const unsigned char *at)
{
    uint32_t same = 0;
    while (same < p->num_pieces && is_at(&p->pieces[same], at)) same++;
    return same == p->num_pieces;
}

void gdn_pack_write(const gdn_packer *p, unsigned char *to)
{
    for (uint32_t i = 0; i < p->num_pieces; i++) write_piece(&p->pieces[i], to);
}
