/* Putting a step's checks to the device, and noting what they found. */
#include "builder/verifier.h"

#include "verify/verify_atomic.h"
#include "verify/make_verify_input.h"

#include <string.h>

/* A claim a slot, where a slot must be one row's. */
size_t gdn_verifier_bytes(const gdn_settings *settings)
{
    const gdn_config *c = &settings->config;
    if (!c->check || c->rules != GDN_RULES_STRICT || !c->check_unique) return 0;
    return (size_t)gdn_largest_pool(settings) * (size_t)c->num_groups * sizeof(uint64_t);
}

gdn_status gdn_verifier_new(gdn_verifier *verifier, const gdn_settings *settings, const gdn_arena *arena,
                            gdn_device *device, gdn_error *error)
{
    const gdn_config *c = &settings->config;
    gdn_verify_input *p = &verifier->input;
    int32_t BOUND = c->query_start_loc_dtype;
    verifier->wanted = c->check || c->poison;
    p->pad_slot = c->pad_slot_id;
    p->strict = c->rules == GDN_RULES_STRICT;
    p->most_accepted = c->num_speculative_tokens + 1;
    memcpy(p->num_slots, settings->num_slots, sizeof p->num_slots);
#define X(name, type, capacity_, per_group)                                                                            \
    if (c->poison && (int64_t)arena->capacity[GDN_FIELD_##name] * gdn_element_size(type) > INT32_MAX)                  \
        return gdn_fail(error, GDN_EINVAL, "poison = true with " #name " of %d elements, want it below 2^31 bytes",    \
                        arena->capacity[GDN_FIELD_##name]);
    GDN_FIELDS(X)
#undef X
    size_t bytes = gdn_verifier_bytes(settings);
    if (!bytes) return GDN_OK;
    p->most_slots = (uint64_t)gdn_largest_pool(settings);
    p->claimable = p->most_slots * (uint64_t)c->num_groups;
    return device->reserve(device, bytes, &p->claims, error);
}

void gdn_verifier_note(gdn_verifier *verifier, const gdn_device *device, int64_t step)
{
    uint64_t word = verifier->noted ? 0 : *device->found;
    if (!word) return;
    verifier->noted = word;
    verifier->noted_step = step - ((step - (int64_t)(word >> GDN_FOUND_STEP)) & 0xffff);
}

static void note_here(gdn_verifier *verifier, int64_t step, uint32_t field, int32_t code)
{
    if (verifier->noted) return;
    verifier->noted = (uint64_t)field << GDN_FOUND_FIELD | (uint64_t)code; /* its step is known whole */
    verifier->noted_step = step;
}

gdn_status gdn_verifier_run(gdn_verifier *verifier, const gdn_settings *settings, gdn_arena *arena, gdn_device *device,
                            const gdn_metadata *meta, int32_t capture, void *stream, gdn_error *error)
{
    gdn_verify_input *p = &verifier->input;
    gdn_verifier_note(verifier, device, meta->step);
    uint32_t misshapen = gdn_make_verify_input(p, settings, arena, meta);
    if (misshapen < GDN_NUM_FIELDS) note_here(verifier, meta->step, misshapen, GDN_CHECK_SHAPE);
    p->capture = capture;
    p->step = (uint32_t)meta->step;
    p->stamp = (p->stamp + 1) & ((1u << (64 - GDN_CLAIM_STAMP)) - 1);
    if (settings->config.poison) gdn_arena_forget(arena);
    return device->verify(device, p, stream, error);
}

void gdn_verifier_follow(gdn_verifier *verifier, const gdn_settings *settings, gdn_arena *arena, gdn_device *device,
                         const gdn_metadata *meta, int32_t capture, void *stream)
{
    gdn_error refusal;
    if (!gdn_verifier_run(verifier, settings, arena, device, meta, capture, stream, &refusal) || verifier->noted)
        return;
    verifier->refusal = refusal;
    note_here(verifier, meta->step, 0, GDN_CHECK_REFUSED);
}
