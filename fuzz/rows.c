/* Rows and their blocks out of bytes: legal in most cases, for what is refused at once tests little. */
#include "case.h"

static void spoil_row(fuzz_row *row, fuzz_bytes *in)
{
    int32_t *const FIELDS[] = { &row->query_len, &row->seq_len, &row->num_draft_tokens, &row->num_accepted_tokens,
                                &row->prompt_done, &row->read_column };
    *FIELDS[fuzz_between(in, 0, 5)] = fuzz_once_in(in, 2) ? fuzz_wild(in) : fuzz_between(in, -2, 12);
}

fuzz_row fuzz_next_row(const fuzz_case *c, fuzz_bytes *in, int32_t *region)
{
    int32_t drafts = c->config.num_speculative_tokens, align = c->config.mamba_cache_mode == GDN_CACHE_ALIGN;
    if (fuzz_once_in(in, 3) && *region < 3) ++*region;
    int32_t kind = *region, computed = kind == 3 ? 0 : fuzz_between(in, 1, 30);
    fuzz_row row = { .query_len = 1, .num_draft_tokens = -1, .num_accepted_tokens = 1, .prompt_done = kind == 0,
                     .read_column = GDN_READ_DEFAULT };
    if (kind == 0 && fuzz_between(in, 0, 1)) {
        row.num_draft_tokens = fuzz_between(in, 0, drafts);
        row.query_len = row.num_draft_tokens + 1;
        row.num_accepted_tokens = fuzz_between(in, 1, drafts + 1);
    } else if (kind == 1) {
        row.query_len = fuzz_between(in, 1, drafts + 1);
    } else if (kind > 1) {
        row.query_len = fuzz_between(in, kind == 2 ? drafts + 2 : 1, 150);
    }
    row.seq_len = computed + row.query_len;
    if (align && computed && drafts) row.read_column = (computed - 1) / c->config.mamba_block_size;
    if (!align && computed && c->config.max_blocks_per_row < row.num_accepted_tokens) row.read_column = 0;
    if (fuzz_once_in(in, 48)) spoil_row(&row, in);
    return row;
}

void fuzz_blocks(fuzz_bytes *in, int32_t first, int32_t *cells, int32_t n)
{
    for (int32_t i = 0; i < n; i++) cells[i] = first + i;
    if (n && fuzz_once_in(in, 16))
        cells[fuzz_between(in, 0, n - 1)] = fuzz_once_in(in, 3) ? fuzz_wild(in) : fuzz_between(in, 0, 9);
}

/* Rows of several tokens ask for a checkpoint now and then: after whole chunks of them, or anywhere. */
static void ask_for_checkpoint(const fuzz_case *c, fuzz_bytes *in, gdn_batch *batch, int32_t i)
{
    int32_t q = batch->query_len[i];
    batch->checkpoint_len[i] = 0;
    if (q < 2 || q > 200 || !fuzz_once_in(in, 4)) return;
    int32_t anywhere = c->config.checkpoint_any || q <= 64;
    int32_t offset = anywhere ? fuzz_between(in, 1, q - 1) : 64 * fuzz_between(in, 1, q / 64);
    batch->checkpoint_len[i] = fuzz_once_in(in, 24) ? fuzz_wild(in) : batch->seq_len[i] - q + offset;
    for (int32_t g = 0; g < c->config.num_groups; g++)
        batch->checkpoint_slot[g * batch->max_rows + i] =
            fuzz_once_in(in, 24) ? fuzz_wild(in) : c->num_slots[g] - 1 - i;
}

void fuzz_push(const fuzz_case *c, fuzz_bytes *in, gdn_batch *batch, int32_t *const tables[], int32_t *region)
{
    int32_t i = batch->num_rows++, cols = c->config.max_blocks_per_row, place = i % c->config.max_requests;
    fuzz_row row = fuzz_next_row(c, in, region);
    batch->query_len[i] = row.query_len;
    batch->seq_len[i] = row.seq_len;
    batch->num_draft_tokens[i] = row.num_draft_tokens;
    batch->num_accepted_tokens[i] = row.num_accepted_tokens;
    batch->prompt_done[i] = row.prompt_done;
    batch->read_column[i] = row.read_column;
    batch->table_row[i] = tables ? place : ~i;
    if (fuzz_once_in(in, 64)) batch->table_row[i] = fuzz_wild(in);
    for (int32_t g = 0; g < c->config.num_groups; g++) {
        int32_t *own = batch->blocks + ((int64_t)g * batch->max_rows + i) * cols;
        fuzz_blocks(in, 1 + i * cols, tables ? tables[g] + (int64_t)place * cols : own, cols);
    }
    if (row.seq_len >= row.query_len && row.seq_len < 1 << 30) ask_for_checkpoint(c, in, batch, i);
    else batch->checkpoint_len[i] = 0;
}
