/* A builder's memory, part by part in the order of builder.c. A spec counts what is allocated and compares. */
#include "builder/footprint.h"

#include "builder/builder.h"
#include "builder/repeat.h"
#include "builder/verifier.h"
#include "base/guarded_memory.h"

#include <stdio.h>
#include <string.h>

static size_t rows_bytes(const gdn_settings *settings)
{
    const gdn_config *c = &settings->config;
    size_t rows = (size_t)c->max_rows, raw = 7 * rows, partition = 7 * (rows + 1), indices = 2 * rows;
    size_t device_inputs = c->device == GDN_DEVICE_CPU ? 0 : 2 * rows,
           kept = settings->has_checkpoints ? 3 * (rows + 1) : 0;
    return (raw + partition + indices + device_inputs + kept) * sizeof(int32_t);
}

/* States of a row to write and to read, speculative and not, and to keep. */
static size_t slots_bytes(const gdn_settings *settings)
{
    const gdn_config *c = &settings->config;
    size_t states = (size_t)c->num_speculative_tokens + 4 + (settings->has_checkpoints ? 1 : 0);
    size_t repeat = c->device == GDN_DEVICE_CPU ? 0 : gdn_repeat_bytes(settings, (size_t)c->max_rows * states);
    return (size_t)c->num_groups * (size_t)c->max_rows * states * sizeof(int32_t) + repeat;
}

static size_t uniqueness_bytes(const gdn_settings *s)
{
    if (s->config.rules != GDN_RULES_STRICT || !s->config.check_unique) return 0;
    return (size_t)gdn_largest_pool(s) * sizeof(uint32_t);
}

int64_t gdn_footprint(const gdn_settings *settings, size_t arena_bytes)
{
    const gdn_config *c = &settings->config;
    size_t rest = sizeof(gdn_builder) + rows_bytes(settings) + slots_bytes(settings) + uniqueness_bytes(settings) +
                  gdn_device_bytes(settings) + gdn_verifier_bytes(settings) + arena_bytes;
    /* Only tables can be larger than any memory: 2^62 elements, in 64 groups. */
    uint64_t elements = (uint64_t)c->max_requests * (uint64_t)c->max_blocks_per_row, groups = (uint64_t)c->num_groups;
    if (elements > (uint64_t)1 << 54) return INT64_MAX;
    return (int64_t)(rest + groups * gdn_guarded_bytes(elements * sizeof(int32_t)));
}

gdn_status gdn_builder_bytes(const gdn_config *config, int64_t *out, char *why, size_t why_size)
{
    gdn_error error;
    gdn_settings settings;
    gdn_arena arena;
    gdn_status status = gdn_settings_make(config, &settings, &error);
    if (!status && !out) status = gdn_fail(&error, GDN_EINVAL, "out = NULL, want a place for the bytes");
    if (!status) {
        gdn_arena_layout(&arena, &settings);
        *out = gdn_footprint(&settings, arena.bytes);
    } else if (why && why_size) {
        (void)snprintf(why, why_size, "%s", error.text);
    }
    return status;
}
