/* Memory of an attention cache's blocks, on the host and, for a CUDA builder, on its device. */
#include "scheduler/kv_blocks.h"

#include "builder/one_thread.h"

#include <stdlib.h>

/* Only what changed since the last send is copied. */
void gdn_kv_note_stale(gdn_kv *kv, int32_t row)
{
    if (!kv->stale) return;
    if (kv->sent[row] >= 0) kv->stale[kv->num_stale++] = row;
    if (kv->sent[row] >= 0) kv->sent[row] = ~kv->sent[row]; /* noted; ~sent until it is sent */
}

void gdn_kv_free(gdn_kv *kv)
{
    if (!kv) return;
    kv->device->take_back(kv->device, kv->device_table);
    for (int32_t s = 0; s < kv->config.steps; s++) kv->device->take_back(kv->device, kv->device_mapping[s]);
    gdn_device_drop(kv->device);
    for (int32_t s = 0; s < kv->config.steps; s++) free(kv->mapping[s]);
    free(kv->stack);
    free(kv->holders);
    free(kv->table);
    free(kv->length);
    free(kv->sent);
    free(kv->stale);
    free(kv);
}

static gdn_status validate(const gdn_kv_config *c, gdn_error *error)
{
    if (c->num_blocks < 1) return gdn_fail(error, GDN_EINVAL, "num_blocks = %d, want >= 1", c->num_blocks);
    if (c->block_size < 1) return gdn_fail(error, GDN_EINVAL, "block_size = %d, want >= 1", c->block_size);
    if (c->rows < 1) return gdn_fail(error, GDN_EINVAL, "rows = %d, want >= 1", c->rows);
    if (c->columns < 1) return gdn_fail(error, GDN_EINVAL, "columns = %d, want >= 1", c->columns);
    if (c->steps < 1 || c->steps > GDN_KV_STEPS)
        return gdn_fail(error, GDN_EINVAL, "steps = %d, want 1 .. %d", c->steps, GDN_KV_STEPS);
    return GDN_OK;
}

/* calloc: pages of a large table cost memory only once they are written. */
static gdn_status make(gdn_kv *kv, gdn_error *error)
{
    const gdn_kv_config *c = &kv->config;
    size_t num_blocks = (size_t)c->num_blocks, rows = (size_t)c->rows, in_table = rows * (size_t)c->columns;
    kv->stack = malloc(num_blocks * sizeof *kv->stack);
    kv->holders = calloc(num_blocks, sizeof *kv->holders);
    kv->table = calloc(in_table, sizeof *kv->table);
    kv->length = calloc(rows, sizeof *kv->length);
    kv->sent = calloc(rows, sizeof *kv->sent);
    int whole = kv->stack && kv->holders && kv->table && kv->length && kv->sent;
    for (int32_t s = 0; s < c->steps; s++) {
        kv->mapping[s] = calloc((size_t)kv->tokens, sizeof *kv->mapping[s]);
        whole = whole && kv->mapping[s];
    }
    if (kv->device->ordinal != GDN_DEVICE_CPU) {
        kv->stale = malloc(rows * sizeof *kv->stale);
        whole = whole && kv->stale;
    }
    if (!whole)
        return gdn_fail(error, GDN_ENOMEM, "no memory for %d blocks of attention cache and a table [%d, %d] of them",
                        c->num_blocks, c->rows, c->columns);
    kv->available = c->num_blocks;
    for (int32_t i = 0; i < c->num_blocks; i++) kv->stack[i] = c->num_blocks - 1 - i; /* block 0 goes first */
    gdn_status status = kv->device->lend(kv->device, in_table * sizeof *kv->table, &kv->device_table, error);
    for (int32_t s = 0; !status && s < c->steps; s++)
        status = kv->device->lend(kv->device, (size_t)kv->tokens * sizeof *kv->mapping[s], &kv->device_mapping[s],
                                  error);
    return status;
}

gdn_status gdn_kv_new(gdn_builder *b, const gdn_kv_config *config, gdn_kv **out)
{
    if (!b || gdn_busy(b)) return GDN_EINVAL;
    if (!config || !out) return gdn_done(b, gdn_fail(&b->error, GDN_EINVAL, "config or out = NULL"));
    gdn_status status = validate(config, &b->error);
    if (status) return gdn_done(b, status);
    gdn_kv *kv = calloc(1, sizeof *kv);
    if (!kv) return gdn_done(b, gdn_fail(&b->error, GDN_ENOMEM, "no memory for an attention cache's blocks"));
    kv->config = *config;
    kv->tokens = b->settings.config.max_num_batched_tokens;
    kv->device = b->device;
    gdn_device_hold(kv->device);
    status = make(kv, &b->error);
    if (status) gdn_kv_free(kv);
    else *out = kv;
    return gdn_done(b, status);
}

static gdn_status send_table(gdn_kv *kv, void *stream, gdn_error *error)
{
    while (kv->num_stale) {
        int32_t row = kv->stale[kv->num_stale - 1], sent = kv->sent[row], from = sent < 0 ? ~sent : 0;
        const int32_t *blocks = gdn_kv_row(kv, row);
        if (from < kv->length[row]) {
            uint64_t to = kv->device_table + (uint64_t)(blocks + from - kv->table) * sizeof *blocks;
            gdn_status status = kv->device->send(kv->device, to, blocks + from,
                                                 (size_t)(kv->length[row] - from) * sizeof *blocks, stream, error);
            if (status) return status;
        }
        kv->sent[row] = kv->length[row];
        kv->num_stale--;
    }
    return GDN_OK;
}

gdn_status gdn_kv_send(gdn_builder *b, gdn_kv *kv, int32_t step, int32_t tokens, void *stream)
{
    if (!b || gdn_busy(b)) return GDN_EINVAL;
    if (!kv || step < 0 || step >= kv->config.steps || tokens < 0 || tokens > kv->tokens)
        return gdn_done(b, gdn_fail(&b->error, GDN_EINVAL, "step = %d, tokens = %d: want those of a step", step,
                                    tokens));
    if (!kv->stale) return gdn_done(b, GDN_OK);
    gdn_status status = send_table(kv, stream, &b->error);
    if (!status && tokens)
        status = kv->device->send(kv->device, kv->device_mapping[step], kv->mapping[step],
                                  (size_t)tokens * sizeof *kv->mapping[step], stream, &b->error);
    return gdn_done(b, status);
}

const int32_t *gdn_kv_device_table(const gdn_kv *kv)
{
    return kv ? (const int32_t *)(uintptr_t)kv->device_table : NULL;
}

const int64_t *gdn_kv_device_mapping(const gdn_kv *kv, int32_t step)
{
    return kv && step >= 0 && step < kv->config.steps ? (const int64_t *)(uintptr_t)kv->device_mapping[step] : NULL;
}
