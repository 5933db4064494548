/* A builder's life, and a step from rows to metadata: build_step reads top to bottom. */
#include "builder/builder.h"

#include "gdnmeta_scheduler.h"

#include "builder/one_thread.h"
#include "builder/footprint.h"
#include "fill/bucket_shapes.h"
#include "base/guarded_memory.h"

#include <stdio.h>
#include <stdlib.h>

static size_t table_bytes(const gdn_config *c)
{
    return (size_t)c->max_requests * (size_t)c->max_blocks_per_row * sizeof(int32_t);
}

static gdn_status allocate(gdn_builder *b)
{
    const gdn_config *c = &b->settings.config;
    gdn_status status = gdn_vllm_rows_new(&b->raw, c->max_rows);
    if (!status) status = gdn_partition_new(&b->partition, &b->settings);
    if (!status) status = gdn_state_indices_new(&b->indices, &b->settings);
    if (!status) status = gdn_uniqueness_new(&b->uniqueness, &b->settings);
    for (int32_t g = 0; !status && g < c->num_groups; g++) {
        b->own_tables[g] = gdn_guarded_new(table_bytes(c));
        if (!b->own_tables[g]) status = GDN_ENOMEM;
        gdn_use_own_table(b, g);
    }
    if (status) return gdn_fail(&b->error, status, "no memory for %d rows in %d groups", c->max_rows, c->num_groups);
    gdn_arena_layout(&b->arena, &b->settings);
    status = gdn_device_open(&b->settings, &b->device, &b->error);
    if (!status) status = b->device->allocate(b->device, &b->arena, &b->error);
    if (status) return status;
    status = gdn_verifier_new(&b->verifier, &b->settings, &b->arena, b->device, &b->error);
    if (status) return status;
    b->settings.config.device = b->device->ordinal;
    if (b->device->ordinal == GDN_DEVICE_CPU) return GDN_OK;
    status = gdn_device_inputs_new(&b->device_inputs, c->max_rows);
    if (!status) status = gdn_repeat_new(&b->repeat, &b->settings, &b->indices);
    return status ? gdn_fail(&b->error, status, "no memory for %d rows", c->max_rows) : GDN_OK;
}

gdn_status gdn_builder_new(const gdn_config *config, gdn_builder **out, char *why, size_t why_size)
{
    static _Atomic uint64_t builders; /* a freed builder's address may come back, its number never does */
    gdn_error error = { "no memory for a builder" };
    if (!out) {
        if (why && why_size) (void)snprintf(why, why_size, "out = NULL, want a place for the builder");
        return GDN_EINVAL;
    }
    gdn_builder *b = calloc(1, sizeof *b);
    gdn_status status = b ? gdn_settings_make(config, &b->settings, &error) : GDN_ENOMEM;
    if (!status) {
        status = allocate(b);
        error = b->error;
    }
    if (status) {
        if (why && why_size) (void)snprintf(why, why_size, "%s", error.text);
        gdn_builder_free(b);
        return status;
    }
    b->serial = ++builders;
    *out = b;
    return GDN_OK;
}

void gdn_builder_free(gdn_builder *b)
{
    if (!b) return;
    if (b->device) gdn_device_drop(b->device);
    for (int32_t g = 0; g < GDN_MAX_GROUPS; g++) gdn_guarded_free(b->own_tables[g]);
    gdn_uniqueness_free(&b->uniqueness);
    gdn_state_indices_free(&b->indices);
    gdn_partition_free(&b->partition);
    gdn_vllm_rows_free(&b->raw);
    gdn_device_inputs_free(&b->device_inputs);
    gdn_repeat_free(&b->repeat);
    free(b);
}

void gdn_builder_describe(const gdn_builder *b, gdn_builder_info *out)
{
    if (!out) return;
    *out = (gdn_builder_info){ .device = GDN_DEVICE_CPU };
    if (!b) return;
    const gdn_config *c = &b->settings.config;
    *out = (gdn_builder_info){ .bytes = gdn_footprint(&b->settings, b->arena.bytes),
                               .decode_cudagraph_max_bs = b->settings.cap, .num_spec = c->num_speculative_tokens,
                               .reorder_batch_threshold = b->settings.threshold, .max_rows = c->max_rows,
                               .max_num_batched_tokens = c->max_num_batched_tokens, .max_requests = c->max_requests,
                               .max_blocks_per_row = c->max_blocks_per_row, .num_groups = c->num_groups,
                               .device = b->device->ordinal, .rules = c->rules };
}

void gdn_builder_config(const gdn_builder *b, gdn_config *out)
{
    if (!out) return;
    gdn_config_init(out);
    if (!b) return;
    *out = b->settings.config;
    out->num_slots = b->settings.num_slots;
}

const char *gdn_last_error(const gdn_builder *b)
{
    if (!b) return "the builder is NULL";
    const char *busy = gdn_busy_error(b);
    return busy ? busy : b->error.text;
}

gdn_status gdn_batch_new(const gdn_builder *b, gdn_batch **out)
{
    if (!b || !out) return GDN_EINVAL;
    return gdn_batch_make(&b->settings, b->serial, out);
}

/* The whole of a step. Everything that can be refused is refused before the fill writes anything. */
static gdn_status build_step(gdn_builder *b, const gdn_step *step, void *stream)
{
    const gdn_settings *settings = &b->settings;
    gdn_partition *p = &b->partition;
    int strict = settings->config.rules == GDN_RULES_STRICT && !step->null_slots;
    int check = strict && !b->skip_strict;
    if (gdn_repeat_is(&b->repeat, settings, p, &b->indices, step) && b->device->skip(b->device, stream)) {
        b->metadata.step++;
        return GDN_OK;
    }
    b->repeat.kept = 0;

    gdn_status status = gdn_partition_make(p, settings, step, &b->error);
    if (!status && strict) gdn_state_indices_resolve_reads(&b->indices, settings, p, step);
    if (!status && check) status = gdn_strict_rows(&b->indices, settings, p, step, &b->error);
    if (!status) status = gdn_state_indices_locate(&b->indices, settings, p, step, &b->error);
    if (status) return status;
    gdn_state_indices_gather(&b->indices, settings, p, step);
    if (check) status = gdn_strict_slots(&b->indices, &b->uniqueness, settings, p, step, &b->error);
    if (status) return status;

    gdn_fill_inputs inputs = { settings, p, &b->indices, step };
    int64_t skipped = b->device->counters.skipped;
    status = b->device->fill(b->device, &b->arena, &inputs, stream, &b->error);
    if (status) return status;
    if (b->device->counters.skipped != skipped) gdn_repeat_keep(&b->repeat, settings, p, step);
    gdn_metadata_set(&b->metadata, &b->arena, settings, p);
    b->metadata.step++;
    if (b->verifier.wanted)
        gdn_verifier_follow(&b->verifier, settings, &b->arena, b->device, &b->metadata, step->null_slots, stream);
    return GDN_OK;
}

static gdn_status check_tables(gdn_builder *b)
{
    const gdn_config *c = &b->settings.config;
    for (int32_t g = 0; g < c->num_groups; g++)
        if (!gdn_guarded_intact(b->own_tables[g], table_bytes(c)))
            return gdn_fail(&b->error, GDN_EGUARD, "something wrote outside the state table of group %d", g);
    return GDN_OK;
}

gdn_status gdn_build(gdn_builder *b, gdn_batch *batch, void *stream)
{
    gdn_step step;
    if (!b || gdn_busy(b)) return GDN_EINVAL;
    gdn_status status = batch ? check_tables(b) : gdn_fail(&b->error, GDN_EINVAL, "batch = NULL, want a batch");
    if (!status) status = gdn_batch_step(batch, b->serial, b->tables, &step, &b->error);
    if (!status) status = gdn_device_inputs_apply(&b->device_inputs, &b->settings, &step, &b->error);
    if (!status) status = gdn_device_accepted_apply(&b->device_inputs, &step, &b->error);
    return gdn_done(b, status ? status : build_step(b, &step, stream));
}

/* vLLM's arguments know no buckets. */
static gdn_status check_raw(gdn_builder *b, const gdn_raw *raw)
{
    if (!raw) return gdn_fail(&b->error, GDN_EINVAL, "raw = NULL, want a gdn_raw");
    if (!b->settings.has_buckets) return GDN_OK;
    return gdn_fail(&b->error, GDN_EINVAL,
                    "full_cuda_graph = \"mixed\" has no raw steps, want a batch, or a capture of rows and tokens");
}

gdn_status gdn_build_raw(gdn_builder *b, const gdn_raw *raw, void *stream)
{
    gdn_step step;
    if (!b || gdn_busy(b)) return GDN_EINVAL;
    gdn_status status = check_raw(b, raw);
    if (!status)
        status = gdn_vllm_step(&b->raw, &b->settings, raw, &b->device_inputs, b->tables, &step, &b->error);
    if (!status) status = gdn_device_inputs_apply(&b->device_inputs, &b->settings, &step, &b->error);
    if (!status) status = gdn_device_accepted_apply(&b->device_inputs, &step, &b->error);
    return gdn_done(b, status ? status : build_step(b, &step, stream));
}

gdn_status gdn_capture(gdn_builder *b, const gdn_raw *raw, void *stream)
{
    gdn_step step;
    if (!b || gdn_busy(b)) return GDN_EINVAL;
    gdn_status status = check_raw(b, raw);
    if (!status)
        status = gdn_vllm_capture_step(&b->raw, &b->settings, raw, &b->device_inputs, b->tables, &step, &b->error);
    if (!status) status = gdn_device_inputs_apply(&b->device_inputs, &b->settings, &step, &b->error);
    return gdn_done(b, status ? status : build_step(b, &step, stream));
}

gdn_status gdn_capture_bucket(gdn_builder *b, int32_t rows, int32_t tokens, void *stream)
{
    if (!b || gdn_busy(b)) return GDN_EINVAL;
    const gdn_vllm_rows *none = &b->raw; /* of its arrays nothing is read */
    gdn_step step = { .query_len = none->query_len, .seq_len = none->seq_len,
                      .num_draft_tokens = none->num_draft_tokens, .num_accepted_tokens = none->num_accepted_tokens,
                      .prompt_done = none->prompt_done, .table_row = none->table_row,
                      .read_column = none->read_column, .tables = b->tables, .num_reqs = rows,
                      .num_actual_tokens = tokens, .null_slots = 1 };
    gdn_status status = gdn_bucket_check(&b->settings, rows, tokens, &b->error);
    return gdn_done(b, status ? status : build_step(b, &step, stream));
}

const gdn_metadata *gdn_builder_metadata(const gdn_builder *b)
{
    return b ? &b->metadata : NULL;
}

gdn_status gdn_metadata_group(const gdn_builder *b, int32_t group, gdn_metadata *out)
{
    if (!b || !out || group < 0 || group >= b->settings.config.num_groups) return GDN_EINVAL;
    *out = b->metadata;
    gdn_metadata_move(out, &b->arena, group);
    return GDN_OK;
}

void gdn_builder_counters(const gdn_builder *b, gdn_counters *out)
{
    if (out) *out = b ? b->device->counters : (gdn_counters){ 0 };
}

gdn_status gdn_builder_read(gdn_builder *b, void *to, const void *from, size_t bytes)
{
    if (!b || gdn_busy(b)) return GDN_EINVAL;
    size_t at = (size_t)((uintptr_t)from - (uintptr_t)b->arena.base);
    if (!to && bytes) return gdn_done(b, gdn_fail(&b->error, GDN_EINVAL, "to = NULL, want %zu bytes", bytes));
    if (at > b->arena.bytes || bytes > b->arena.bytes - at)
        return gdn_done(
            b, gdn_fail(&b->error, GDN_EINVAL, "%zu bytes at %p are not within the builder's tensors", bytes, from));
    return gdn_done(b, bytes ? b->device->read(b->device, to, from, bytes, &b->error) : GDN_OK);
}

void gdn_builder_poison(gdn_builder *b)
{
    if (!b) return;
    gdn_arena_forget(&b->arena);
    b->device->poison(b->device, &b->arena);
}
