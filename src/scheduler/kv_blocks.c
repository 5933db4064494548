/* Which request has which blocks of the attention cache, and where a step's tokens lie in them. */
#include "scheduler/kv_blocks.h"

static int is_row(const gdn_kv *kv, int32_t row)
{
    return kv && row >= 0 && row < kv->config.rows;
}

/* Are these blocks that something holds? More holders than a count can tell are refused. */
static int are_held(const gdn_kv *kv, const int32_t *blocks, int32_t n)
{
    if (!kv || n < 0 || (n && !blocks)) return 0;
    for (int32_t i = 0; i < n; i++) {
        int32_t block = blocks[i];
        if (block < 0 || block >= kv->config.num_blocks || kv->holders[block] < 1) return 0;
        if (kv->holders[block] > INT32_MAX - n) return 0;
    }
    return 1;
}

static int32_t take_one(gdn_kv *kv)
{
    int32_t block = kv->stack[--kv->available];
    kv->holders[block] = 1;
    return block;
}

static void drop_one(gdn_kv *kv, int32_t block)
{
    if (--kv->holders[block] == 0) kv->stack[kv->available++] = block;
}

gdn_status gdn_kv_extend(gdn_kv *kv, int32_t row, int32_t columns)
{
    if (!is_row(kv, row) || columns < 0 || columns > kv->config.columns) return GDN_EINVAL;
    int32_t length = kv->length[row], *blocks = gdn_kv_row(kv, row);
    if (columns <= length) return GDN_OK;
    if (columns - length > kv->available) return GDN_ECAP;
    for (int32_t c = length; c < columns; c++) blocks[c] = take_one(kv);
    kv->length[row] = columns;
    gdn_kv_note_stale(kv, row);
    return GDN_OK;
}

/* In one pass, for a long prompt has thousands of blocks anywhere in memory: what is refused is undone. Two
 * comparisons a block, of numbers without a sign: twice as fast as four. */
gdn_status gdn_kv_share(gdn_kv *kv, int32_t row, const int32_t *blocks, int32_t n)
{
    if (!is_row(kv, row) || kv->length[row] || n < 0 || n > kv->config.columns || (n && !blocks)) return GDN_EINVAL;
    int32_t *own = gdn_kv_row(kv, row), *holders = kv->holders;
    uint32_t num_blocks = (uint32_t)kv->config.num_blocks, most = INT32_MAX - 1;
    int32_t c = 0;
    for (; c < n; c++) {
        uint32_t block = (uint32_t)blocks[c];
        if (block >= num_blocks) break;
        uint32_t held = (uint32_t)holders[block];
        if (held - 1 >= most) break; /* none holds it, or as many as a count can tell */
        holders[block] = (int32_t)(held + 1);
        own[c] = (int32_t)block;
    }
    if (c < n) {
        for (; c > 0; c--) holders[own[c - 1]]--, own[c - 1] = 0;
        return GDN_EINVAL;
    }
    kv->length[row] = n;
    if (n) gdn_kv_note_stale(kv, row);
    return GDN_OK;
}

gdn_status gdn_kv_hold(gdn_kv *kv, const int32_t *blocks, int32_t n)
{
    if (!are_held(kv, blocks, n)) return GDN_EINVAL;
    for (int32_t i = 0; i < n; i++) kv->holders[blocks[i]]++;
    return GDN_OK;
}

gdn_status gdn_kv_take(gdn_kv *kv, int32_t n, int32_t *out)
{
    if (!kv || n < 0 || (n && !out)) return GDN_EINVAL;
    if (n > kv->available) return GDN_ECAP;
    for (int32_t i = 0; i < n; i++) out[i] = take_one(kv);
    return GDN_OK;
}

gdn_status gdn_kv_drop(gdn_kv *kv, const int32_t *blocks, int32_t n)
{
    if (!are_held(kv, blocks, n)) return GDN_EINVAL;
    for (int32_t i = 0; i < n; i++)
        if (kv->holders[blocks[i]]) drop_one(kv, blocks[i]);
    return GDN_OK;
}

gdn_status gdn_kv_clear(gdn_kv *kv, int32_t row)
{
    if (!is_row(kv, row)) return GDN_EINVAL;
    int32_t *blocks = gdn_kv_row(kv, row);
    for (int32_t c = kv->length[row] - 1; c >= 0; c--) { /* the first block is handed out first */
        drop_one(kv, blocks[c]);
        blocks[c] = 0;
    }
    kv->length[row] = 0;
    kv->sent[row] = kv->sent[row] < 0 ? ~0 : 0; /* a row that is noted stays so */
    return GDN_OK;
}

/* A run of consecutive tokens at a time: the part of a row that lies in one block. */
static int64_t *map_row(const gdn_kv *kv, const int32_t *blocks, int32_t position, int32_t end, int64_t *out)
{
    int32_t size = kv->config.block_size;
    while (position < end) {
        int32_t offset = position % size, left = end - position, rest = size - offset;
        int32_t run = left < rest ? left : rest;
        int64_t base = (int64_t)blocks[position / size] * size + offset;
        for (int32_t t = 0; t < run; t++) out[t] = base + t;
        out += run;
        position += run;
    }
    return out;
}

gdn_status gdn_kv_map(gdn_kv *kv, int32_t step, int32_t num_rows, const int32_t *table_row,
                      const int32_t *query_len, const int32_t *seq_len, int32_t padded)
{
    if (!kv || step < 0 || step >= kv->config.steps || num_rows < 0) return GDN_EINVAL;
    if (num_rows && (!table_row || !query_len || !seq_len)) return GDN_EINVAL;
    if (padded < 0 || padded > kv->tokens) return GDN_ECAP;
    int64_t *out = kv->mapping[step], *last = out + padded;
    for (int32_t i = 0; i < num_rows; i++) {
        int32_t row = table_row[i], n = query_len[i], end = seq_len[i];
        if (!is_row(kv, row) || n < 0 || n > end || n > last - out) return GDN_EINVAL;
        if (end > (int64_t)kv->length[row] * kv->config.block_size) return GDN_EINVAL;
        out = map_row(kv, gdn_kv_row(kv, row), end - n, end, out);
    }
    while (out < last) *out++ = -1;
    return GDN_OK;
}

const int32_t *gdn_kv_table(const gdn_kv *kv)
{
    return kv ? kv->table : NULL;
}

const int64_t *gdn_kv_mapping(const gdn_kv *kv, int32_t step)
{
    return kv && step >= 0 && step < kv->config.steps ? kv->mapping[step] : NULL;
}

int32_t gdn_kv_available(const gdn_kv *kv)
{
    return kv ? kv->available : 0;
}

int32_t gdn_kv_holders(const gdn_kv *kv, int32_t block)
{
    return kv && block >= 0 && block < kv->config.num_blocks ? kv->holders[block] : 0;
}

int32_t gdn_kv_length(const gdn_kv *kv, int32_t row)
{
    return is_row(kv, row) ? kv->length[row] : 0;
}

int32_t gdn_kv_sole(const gdn_kv *kv, int32_t row)
{
    int32_t n = 0;
    if (!is_row(kv, row)) return 0;
    const int32_t *blocks = gdn_kv_row(kv, row);
    for (int32_t c = 0; c < kv->length[row]; c++) n += kv->holders[blocks[c]] == 1;
    return n;
}
