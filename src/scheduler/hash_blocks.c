/* Ids of blocks: 53 bits that stand for every token from the start of a prompt. */
#include "gdnmeta_prefix_index.h"

#include <string.h>

/* Odd 64-bit constants: the fractions of the square roots of 2, 3, 5 and 7. */
static const uint64_t K1 = 0x6A09E667F3BCC909u, K2 = 0xBB67AE8584CAA73Bu, K3 = 0x3C6EF372FE94F82Bu,
                      K4 = 0xA54FF53A5F1D36F1u;

static inline uint64_t turn(uint64_t h, int bits)
{
    return h << bits | h >> (64 - bits);
}

/* Both halves of a 128-bit product, folded: every bit of either factor reaches all of the result. */
static inline uint64_t fold(uint64_t a, uint64_t b)
{
    uint64_t low = a * b, ah = a >> 32, al = (uint32_t)a, bh = b >> 32, bl = (uint32_t)b;
    uint64_t middle = ah * bl + (al * bl >> 32), other = al * bh + (uint32_t)middle;
    return low ^ (ah * bh + (middle >> 32) + (other >> 32));
}

/* One more word. A product by a word that is zero would forget what came before: the constant is xored in. */
static inline uint64_t absorb(uint64_t h, uint64_t word)
{
    return fold(turn(h, 29) ^ K1, word ^ K2) + (h ^ word) * K3;
}

static inline int64_t finish(uint64_t h, uint64_t length)
{
    h = fold(h ^ K4, length ^ K1 ^ turn(h, 32));
    h = (h ^ h >> 31) * K2;
    return (int64_t)((h ^ h >> 29) >> 11);
}

/* Both salt and predecessor are absorbed, so that a first block is not a block after id 0. */
static inline uint64_t start(int64_t salt, int64_t previous)
{
    return absorb(absorb(K4, (uint64_t)salt), (uint64_t)previous);
}

int64_t gdn_hash_bytes(const void *bytes, int64_t n, int64_t salt)
{
    const unsigned char *at = bytes;
    uint64_t h = start(salt, -2), length = at && n > 0 ? (uint64_t)n : 0, word;
    uint64_t left = length;
    for (; left >= 8; left -= 8, at += 8) {
        memcpy(&word, at, 8);
        h = absorb(h, word);
    }
    word = 0;
    if (left) memcpy(&word, at, left);
    return finish(absorb(h, word), length);
}

gdn_status gdn_hash_blocks(const int32_t *tokens, int64_t n, int32_t size, int64_t salt, int64_t previous, int64_t *out)
{
    if (!tokens || !out || n < 0 || size < 1) return GDN_EINVAL;
    for (int64_t block = 0; block < n / size; block++) {
        const int32_t *t = tokens + block * size;
        uint64_t h = start(salt, previous);
        int32_t i = 0;
        for (; i + 2 <= size; i += 2) h = absorb(h, (uint64_t)(uint32_t)t[i] << 32 | (uint32_t)t[i + 1]);
        if (i < size) h = absorb(h, (uint32_t)t[i]);
        out[block] = previous = finish(h, (uint64_t)size);
    }
    return GDN_OK;
}

gdn_status gdn_hash_chain(const int64_t *ids, int64_t n, int64_t salt, int64_t previous, int64_t *out)
{
    if (!ids || !out || n < 0) return GDN_EINVAL;
    for (int64_t i = 0; i < n; i++) out[i] = previous = finish(absorb(start(salt, previous), (uint64_t)ids[i]), 8);
    return GDN_OK;
}
