/* Sizes and strides in 64 bits, and who overlaps whom. */
#include "bring/pools.h"

#include <stdio.h>

enum { MOST_BYTES = 64 << 20, MOST_CHANNELS = 1 << 24, MOST_LENGTH = 1024 };
static const int64_t MOST_STRIDE = (int64_t)1 << 40;

static gdn_status refuse_number(gdn_error *error, const char *name, int64_t value, int64_t low, int64_t high)
{
    return gdn_fail(error, GDN_EINVAL, "%s = %lld, want %lld .. %lld", name, (long long)value, (long long)low,
                    (long long)high);
}

#define WITHIN(name, value, low, high) \
    if ((value) < (low) || (value) > (high)) return refuse_number(error, name, value, low, high)

/* Bytes that a slot's elements span, gaps within it included. */
static int64_t slot_span(const gdn_bring_plan *p)
{
    if (!p->windows) return p->slot_bytes;
    return (p->channels - 1) * p->channel_stride + (p->length - 1) * p->token_stride + p->element_bytes;
}

/* Strides are at most 2^43 bytes, and slots 2^31: the sum needs care. */
static gdn_status check_sum(const gdn_bring_plan *p, gdn_error *error)
{
    int64_t last, all;
    if (__builtin_mul_overflow((int64_t)(p->num_slots - 1), p->slot_stride, &last) ||
        __builtin_add_overflow(last, slot_span(p), &all) || all > INTPTR_MAX)
        return gdn_fail(error, GDN_EINVAL,
                        "num_slots = %d slots, %lld bytes from one to the next, are no %d-bit memory", p->num_slots,
                        (long long)p->slot_stride, (int)(8 * sizeof(void *)));
    return GDN_OK;
}

gdn_status gdn_pools_of_states(gdn_bring_plan *p, const gdn_state_pools *given, int32_t num_slots, gdn_error *error)
{
    int64_t stride = given->slot_stride ? given->slot_stride : given->slot_bytes;
    WITHIN("slot_bytes", given->slot_bytes, 1, MOST_BYTES);
    WITHIN("slot_stride", stride, given->slot_bytes, MOST_STRIDE);
    WITHIN("spec_rows", given->spec_rows, GDN_BRING_ACCEPTED, GDN_BRING_LEAVE);
    p->spec_rows = given->spec_rows;
    p->num_slots = num_slots;
    p->slot_bytes = given->slot_bytes;
    p->slot_stride = stride;
    p->pieces = (uint32_t)((given->slot_bytes + GDN_BRING_PIECE - 1) / GDN_BRING_PIECE);
    return check_sum(p, error);
}

/* Dimensions from the innermost out: each steps over all that the inner ones span. */
static int nests(const int64_t stride[3], const int64_t length[3])
{
    int64_t spanned = 0;
    int done[] = { length[0] == 1, length[1] == 1, length[2] == 1 };
    for (;;) {
        int next = -1;
        for (int i = 0; i < 3; i++)
            if (!done[i] && (next < 0 || stride[i] < stride[next])) next = i;
        if (next < 0) return 1;
        int64_t all;
        if (stride[next] <= spanned || __builtin_mul_overflow(stride[next], length[next] - 1, &all) ||
            __builtin_add_overflow(spanned, all, &spanned))
            return 0;
        done[next] = 1;
    }
}

gdn_status gdn_pools_of_windows(gdn_bring_plan *p, const gdn_window_pools *given, int32_t num_slots, int32_t most_shift,
                                gdn_error *error)
{
    int32_t element = given->element_bytes;
    WITHIN("channels", given->channels, 1, MOST_CHANNELS);
    if (given->length <= most_shift || given->length > MOST_LENGTH)
        return gdn_fail(error, GDN_EINVAL,
                        "length = %d, want %d .. %d: a window of one token and num_speculative_tokens = %d",
                        given->length, most_shift + 1, MOST_LENGTH, most_shift);
    if (element != 1 && element != 2 && element != 4 && element != 8)
        return gdn_fail(error, GDN_EINVAL, "element_bytes = %d, want 1, 2, 4 or 8", element);
    int64_t bytes = (int64_t)given->channels * given->length * element;
    if (bytes > MOST_BYTES)
        return gdn_fail(error, GDN_EINVAL, "channels = %d of length = %d are %lld bytes a slot, want <= %d",
                        given->channels, given->length, (long long)bytes, MOST_BYTES);
    WITHIN("spec_rows", given->spec_rows, GDN_BRING_ACCEPTED, GDN_BRING_LEAVE);
    WITHIN("windows_in", given->windows_in, GDN_WINDOWS_BY_MODE, GDN_WINDOWS_IN_EVERY);
    int64_t stride[] = { (int64_t)given->channels * given->length, given->length, 1 };
    const int64_t length[] = { num_slots, given->channels, given->length }, *own = given->strides;
    static const char *const NAMES[] = { "strides[0] (slots)", "strides[1] (channels)", "strides[2] (tokens)" };
    for (int i = 0; i < 3 && (own[0] || own[1] || own[2]); i++) {
        WITHIN(NAMES[i], own[i], 1, MOST_STRIDE);
        stride[i] = own[i];
    }
    if (!nests(stride, length))
        return gdn_fail(error, GDN_EINVAL,
                        "strides = %lld, %lld, %lld for %d slots of %d channels of %d tokens: elements overlap",
                        (long long)stride[0], (long long)stride[1], (long long)stride[2], num_slots, given->channels,
                        given->length);
    p->spec_rows = given->spec_rows;
    p->num_slots = num_slots;
    p->slot_stride = stride[0] * element;
    p->channel_stride = stride[1] * element;
    p->token_stride = stride[2] * element;
    p->channels = (uint32_t)given->channels;
    p->length = (uint32_t)given->length;
    p->element_bytes = (uint32_t)element;
    p->pieces = (p->channels + GDN_BRING_THREADS - 1) / GDN_BRING_THREADS;
    return check_sum(p, error);
}

size_t gdn_pool_bytes(const gdn_bring_plan *p)
{
    return (size_t)((p->num_slots - 1) * p->slot_stride + slot_span(p));
}

const char *gdn_pool_name(const gdn_bring_plan *p, uint32_t i, char buffer[24])
{
    if (p->num_pools == 1) return "pool";
    (void)snprintf(buffer, 24, "pools[%u]", i);
    return buffer;
}

/* Have two slots, `apart` bytes from one to the other, an element in common? */
static int slots_meet(const gdn_bring_plan *p, int64_t apart)
{
    int64_t length = p->length, most = p->channels;
    if (apart <= -slot_span(p) || apart >= slot_span(p)) return 0;
    if (!p->windows) return 1;
    for (int64_t t = 1 - length; t < length; t++) {
        int64_t rest = apart - t * p->token_stride, channels = rest / p->channel_stride;
        if (rest % p->channel_stride == 0 && channels > -most && channels < most) return 1;
    }
    return 0;
}

/* Pools may lie in one another's gaps, as those of layers do that share pages. */
static int pools_meet(const gdn_bring_plan *p, uint64_t a, uint64_t b)
{
    uint64_t apart = a < b ? b - a : a - b;
    if (apart >= gdn_pool_bytes(p)) return 0;
    if (p->slot_stride < slot_span(p)) return 1; /* slots are not the outermost dimension: not looked into */
    int64_t slots = (int64_t)apart / p->slot_stride; /* of the lower pool, in front of the other's first */
    int64_t rest = (int64_t)apart % p->slot_stride;
    return slots_meet(p, rest) || (slots + 1 < p->num_slots && slots_meet(p, rest - p->slot_stride));
}

gdn_status gdn_pools_place(gdn_bring_plan *p, void *const *pools, int32_t num_pools, const void *ours, size_t bytes,
                           gdn_error *error)
{
    char name[24], other[24];
    WITHIN("num_pools", num_pools, 1, GDN_MAX_POOLS);
    if (!pools) return gdn_fail(error, GDN_EINVAL, "pools = NULL, want %d pools", num_pools);
    p->num_pools = (uint32_t)num_pools;
    uint64_t all = gdn_pool_bytes(p), own = (uintptr_t)ours, bits = p->num_slots > 1 ? (uint64_t)p->slot_stride : 0;
    for (uint32_t i = 0; i < p->num_pools; i++) {
        uint64_t pool = (uintptr_t)pools[i], end;
        if (!pool) return gdn_fail(error, GDN_EINVAL, "%s = NULL, want a pool", gdn_pool_name(p, i, name));
        if (__builtin_add_overflow(pool, all, &end) || end > UINTPTR_MAX)
            return gdn_fail(error, GDN_EINVAL, "%s = %p with %llu bytes passes the end of memory",
                            gdn_pool_name(p, i, name), pools[i], (unsigned long long)all);
        if (p->windows && pool % p->element_bytes)
            return gdn_fail(error, GDN_EINVAL, "%s = %p, want it aligned to elements of %u bytes",
                            gdn_pool_name(p, i, name), pools[i], p->element_bytes);
        if (pool < own + bytes && own < end)
            return gdn_fail(error, GDN_EINVAL, "%s = %p with %llu bytes overlaps the builder's tensors",
                            gdn_pool_name(p, i, name), pools[i], (unsigned long long)all);
        for (uint32_t k = 0; k < i; k++)
            if (pools_meet(p, p->pools[k], pool))
                return gdn_fail(error, GDN_EINVAL,
                                "%s = %p overlaps %s = %p: slots of %lld bytes, %lld from one to the next",
                                gdn_pool_name(p, i, name), pools[i], gdn_pool_name(p, k, other), pools[k],
                                (long long)slot_span(p), (long long)p->slot_stride);
        p->pools[i] = pool;
        bits |= pool;
    }
    p->unit = bits % 16 == 0 ? 16 : bits % 8 == 0 ? 8 : bits % 4 == 0 ? 4 : bits % 2 == 0 ? 2 : 1;
    return GDN_OK;
}
