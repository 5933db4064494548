/* Builders out of bytes, and the promise that a refusal changes nothing. */
#include "case.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fuzz_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)fputs("fuzz: ", stderr);
    (void)vfprintf(stderr, format, arguments);
    (void)fputc('\n', stderr);
    va_end(arguments);
    abort();
}

/* Small sizes: what goes wrong in them goes wrong soon. */
static void choose(gdn_config *config, int32_t *num_slots, fuzz_bytes *in)
{
    gdn_config_init(config);
    config->rules = fuzz_between(in, 0, 3);
    config->mamba_cache_mode = fuzz_between(in, 0, 2);
    config->num_speculative_tokens = fuzz_once_in(in, 16) ? fuzz_between(in, 0, 64) : fuzz_between(in, 0, 4);
    config->max_num_seqs = fuzz_between(in, 1, 12);
    config->max_rows = fuzz_once_in(in, 4) ? fuzz_between(in, 1, 40) : 0;
    config->max_num_batched_tokens = fuzz_between(in, 1, 1000);
    config->num_groups = fuzz_between(in, 1, FUZZ_MAX_GROUPS);
    config->full_cuda_graph = fuzz_between(in, 0, config->rules == GDN_RULES_STRICT ? 2 : 1);
    config->max_cudagraph_capture_size = fuzz_once_in(in, 4) ? fuzz_between(in, 1, 40) : 0;
    config->mamba_block_size = fuzz_between(in, 1, 16);
    config->num_speculative_blocks = config->num_speculative_tokens;
    config->max_blocks_per_row = fuzz_between(in, 0, 12);
    if (config->mamba_cache_mode == GDN_CACHE_ALIGN ||
        (config->mamba_cache_mode == GDN_CACHE_ALL && config->rules == GDN_RULES_VLLM_2026_11))
        config->max_blocks_per_row += config->num_speculative_blocks + 1;
    config->parallel_drafting = fuzz_once_in(in, 4);
    config->decode_context_parallel_size = fuzz_once_in(in, 8) ? 2 : 1;
    config->check_unique = !fuzz_once_in(in, 8);
    config->pad_slot_id = -fuzz_once_in(in, 4);
    config->query_start_loc_dtype = fuzz_once_in(in, 4) ? GDN_INT64 : GDN_INT32;
    if (config->rules == GDN_RULES_VLLM_2026_11) {
        config->gdn_prefill_backend = fuzz_between(in, 0, 1);
        config->num_prefill_checkpoint_blocks = fuzz_between(in, 0, 2);
        config->prefill_checkpoint_alignment = fuzz_once_in(in, 2) ? 64 : fuzz_between(in, 0, 16);
        config->hash_block_size = fuzz_between(in, 0, 4);
        config->cache_hit_alignment_tokens = fuzz_between(in, 0, 16);
        config->num_hash_lookahead_tokens = fuzz_between(in, 0, 2);
        config->drop_eagle_block = fuzz_once_in(in, 4);
    }
    if (config->rules == GDN_RULES_STRICT) {
        config->gdn_prefill_backend = fuzz_between(in, 0, 1);
        config->checkpoint_any = fuzz_between(in, 0, 1);
    }
    for (int32_t g = 0; g < config->num_groups; g++) num_slots[g] = fuzz_between(in, 1, 1000);
    config->num_slots = fuzz_once_in(in, 4) ? num_slots : NULL;
}

/* One field is anything at all. Those that size memory take what is refused only. */
static void spoil(gdn_config *config, fuzz_bytes *in)
{
    int32_t *const FREE[] = { &config->rules, &config->device, &config->num_speculative_tokens,
                              &config->full_cuda_graph, &config->max_cudagraph_capture_size, &config->mamba_cache_mode,
                              &config->mamba_block_size, &config->parallel_drafting,
                              &config->decode_context_parallel_size, &config->check_unique, &config->pad_slot_id,
                              &config->query_start_loc_dtype, &config->gdn_prefill_backend,
                              &config->num_prefill_checkpoint_blocks, &config->drop_eagle_block,
                              &config->checkpoint_any };
    int32_t *const SIZES[] = { &config->max_num_seqs, &config->max_num_batched_tokens, &config->max_rows,
                               &config->num_groups, &config->max_requests, &config->max_blocks_per_row };
    enum { NUM_FREE = sizeof FREE / sizeof *FREE, NUM_SIZES = sizeof SIZES / sizeof *SIZES };
    int32_t which = fuzz_between(in, 0, NUM_FREE + NUM_SIZES), value = fuzz_wild(in);
    if (which < NUM_FREE) *FREE[which] = value;
    else if (which < NUM_FREE + NUM_SIZES) *SIZES[which - NUM_FREE] = value < 0 ? value : -value - 1;
    else config->size = (uint32_t)value;
}

int fuzz_open(fuzz_case *c, fuzz_bytes *in)
{
    gdn_builder *const UNTOUCHED = (gdn_builder *)(uintptr_t)1;
    char why[512] = "";
    memset(c, 0, sizeof *c);
    choose(&c->config, c->num_slots, in);
    if (fuzz_once_in(in, 16)) spoil(&c->config, in);
    if (c->config.device != GDN_DEVICE_CPU && c->config.device != GDN_DEVICE_AUTO) return 0;
    c->config.device = GDN_DEVICE_CPU;
    c->builder = UNTOUCHED;
    gdn_status status = gdn_builder_new(&c->config, &c->builder, why, sizeof why);
    FUZZ_WANT(status <= 0, "gdn_builder_new gives %d", status);
    if (status) {
        FUZZ_WANT(c->builder == UNTOUCHED && why[0], "gdn_builder_new refuses without a reason, or wrote its output");
        return 0;
    }
    gdn_builder_config(c->builder, &c->config);
    memcpy(c->num_slots, c->config.num_slots, (size_t)c->config.num_groups * sizeof *c->num_slots);
    gdn_builder_poison(c->builder);
    return 1;
}

void fuzz_close(fuzz_case *c)
{
    gdn_builder_free(c->builder);
}

/* The metadata of every group, and behind it what its tensors hold. */
struct fuzz_seen {
    gdn_metadata groups[FUZZ_MAX_GROUPS];
    size_t bytes;
    unsigned char contents[];
};

static const size_t ELEMENT[] = { [GDN_INT32] = 4, [GDN_INT64] = 8, [GDN_BOOL] = 1, [GDN_UINT8] = 1 };

/* gdnmeta.h lists the tensors from the one to the other, with nothing between them. */
enum { NUM_TENSORS = (offsetof(gdn_metadata, non_spec_conv_shift) - offsetof(gdn_metadata, spec_query_start_loc))
                         / sizeof(gdn_tensor) + 1 };

static gdn_tensor tensor(const gdn_metadata *m, size_t i)
{
    gdn_tensor t;
    memcpy(&t, (const char *)m + offsetof(gdn_metadata, spec_query_start_loc) + i * sizeof t, sizeof t);
    return t;
}

static size_t size_of(const gdn_tensor *t)
{
    return t->data ? (size_t)t->shape[0] * (size_t)t->shape[1] * ELEMENT[t->dtype] : 0;
}

fuzz_seen *fuzz_look(const fuzz_case *c)
{
    size_t bytes = 0;
    for (int32_t g = 0; g < c->config.num_groups; g++) {
        gdn_metadata m;
        FUZZ_WANT(gdn_metadata_group(c->builder, g, &m) == GDN_OK, "group %d has no metadata", g);
        for (size_t i = 0; i < NUM_TENSORS; i++) {
            gdn_tensor t = tensor(&m, i);
            int sound = t.shape[0] >= 0 && t.shape[1] >= 0 && t.dtype >= GDN_INT32 && t.dtype <= GDN_BOOL;
            FUZZ_WANT(!t.data || sound, "tensor %zu of group %d has shape [%d, %d] and dtype %d", i, g, t.shape[0],
                      t.shape[1], t.dtype);
            bytes += size_of(&t);
        }
    }
    fuzz_seen *seen = malloc(sizeof *seen + bytes);
    if (!seen) abort();
    seen->bytes = bytes;
    size_t at = 0;
    for (int32_t g = 0; g < c->config.num_groups; g++) {
        (void)gdn_metadata_group(c->builder, g, &seen->groups[g]);
        for (size_t i = 0; i < NUM_TENSORS; i++) {
            gdn_tensor t = tensor(&seen->groups[g], i);
            if (t.data) memcpy(seen->contents + at, t.data, size_of(&t));
            at += size_of(&t);
        }
    }
    return seen;
}

static int64_t built[GDN_RULES_VLLM_2026_11 + 1], refused[GDN_RULES_VLLM_2026_11 + 1];

__attribute__((destructor)) static void report(void)
{
    static const char *const RULES[] = { "strict", "vllm-2026-04", "vllm-2026-08", "vllm-2026-11" };
    for (size_t i = 0; i < sizeof RULES / sizeof *RULES; i++)
        if (built[i] + refused[i])
            (void)fprintf(stderr, "fuzz: %s: %lld builds, %lld refused\n", RULES[i], (long long)built[i],
                          (long long)refused[i]);
}

void fuzz_after(const fuzz_case *c, fuzz_seen *before, gdn_status status)
{
    fuzz_seen *now = fuzz_look(c);
    ++(status ? refused : built)[c->config.rules];
    if (status) {
        FUZZ_WANT(status == GDN_EINVAL || status == GDN_ECAP, "a build gives %d: %s", status,
                  gdn_last_error(c->builder));
        FUZZ_WANT(gdn_last_error(c->builder)[0], "a build is refused without a reason");
        size_t groups = (size_t)c->config.num_groups * sizeof *now->groups;
        FUZZ_WANT(!memcmp(before->groups, now->groups, groups), "a refused build changed the metadata: %s",
                  gdn_last_error(c->builder));
        FUZZ_WANT(before->bytes == now->bytes && !memcmp(before->contents, now->contents, now->bytes),
                  "a refused build wrote into tensors: %s", gdn_last_error(c->builder));
    } else {
        FUZZ_WANT(now->groups[0].step == before->groups[0].step + 1, "step = %lld after step %lld",
                  (long long)now->groups[0].step, (long long)before->groups[0].step);
        for (int32_t g = 0; g < c->config.num_groups; g++) fuzz_check_outputs(c, &now->groups[g], g);
    }
    free(before);
    free(now);
}
