/* Bringing states where kernels look that read where they write. */
#include "builder/one_thread.h"
#include "bring/pools.h"

static void set_rows(gdn_bring_rows *r, const gdn_tensor *write, const gdn_tensor *read, const gdn_tensor *shift)
{
    if (!write->data) return; /* strict has all three or none */
    *r = (gdn_bring_rows){ (uintptr_t)write->data, (uintptr_t)read->data, (uintptr_t)shift->data,
                           (uint32_t)write->shape[0], (uint32_t)write->shape[1] };
}

/* The rows of the last step, as the group sees them. */
static gdn_status set_step(const gdn_builder *b, gdn_bring_plan *p, int32_t group, gdn_error *error)
{
    gdn_metadata meta;
    const gdn_config *c = &b->settings.config;
    if (c->rules != GDN_RULES_STRICT)
        return gdn_fail(error, GDN_EINVAL, "rules = \"%s\" have no read indices, want \"strict\"",
                        gdn_rules_word(c->rules));
    if (group < 0 || group >= c->num_groups)
        return gdn_fail(error, GDN_EINVAL, "group = %d, want 0 .. %d", group, c->num_groups - 1);
    if (!b->metadata.step) return gdn_fail(error, GDN_EINVAL, "nothing is built yet, want a build before");
    gdn_status status = gdn_metadata_group(b, group, &meta);
    if (status) return gdn_fail(error, status, "group = %d is unknown", group);
    set_rows(&p->rows[0], &meta.non_spec_state_indices_tensor, &meta.non_spec_read_state_indices,
             &meta.non_spec_conv_shift);
    if (p->spec_rows != GDN_BRING_LEAVE)
        set_rows(&p->rows[1], &meta.spec_state_indices_tensor, &meta.spec_read_state_indices, &meta.spec_conv_shift);
    p->accepted = (uintptr_t)meta.num_accepted_tokens.data;
    p->boundaries = (uintptr_t)meta.spec_query_start_loc.data;
    p->wide = meta.spec_query_start_loc.dtype == GDN_INT64;
    return GDN_OK;
}

static gdn_status bring(gdn_builder *b, gdn_bring_plan *p, int32_t group, void *const *pools, int32_t num_pools,
                        void *stream)
{
    char name[24];
    gdn_status status = set_step(b, p, group, &b->error);
    if (!status) status = gdn_pools_place(p, pools, num_pools, b->arena.base, b->arena.bytes, &b->error);
    for (uint32_t i = 0; !status && i < p->num_pools; i++)
        status = b->device->check_pool(b->device, pools[i], gdn_pool_bytes(p), gdn_pool_name(p, i, name), &b->error);
    return status ? status : b->device->bring(b->device, p, stream, &b->error);
}

static int32_t slots_of(const gdn_builder *b, int32_t group)
{
    return group >= 0 && group < b->settings.config.num_groups ? b->settings.num_slots[group] : 1;
}

gdn_status gdn_bring_states(gdn_builder *b, const gdn_state_pools *given, void *stream)
{
    gdn_bring_plan p = { .windows = 0 };
    if (!b || gdn_busy(b)) return GDN_EINVAL;
    if (!given) return gdn_done(b, gdn_fail(&b->error, GDN_EINVAL, "states = NULL, want a gdn_state_pools"));
    if (given->size != sizeof *given)
        return gdn_done(b, gdn_fail(&b->error, GDN_EINVAL, "size = %u, want %zu (sizeof(gdn_state_pools))", given->size,
                                    sizeof *given));
    gdn_status status = gdn_pools_of_states(&p, given, slots_of(b, given->group), &b->error);
    return gdn_done(b, status ? status : bring(b, &p, given->group, given->pools, given->num_pools, stream));
}

gdn_status gdn_bring_windows(gdn_builder *b, const gdn_window_pools *given, void *stream)
{
    gdn_bring_plan p = { .windows = 1 };
    if (!b || gdn_busy(b)) return GDN_EINVAL;
    if (!given) return gdn_done(b, gdn_fail(&b->error, GDN_EINVAL, "windows = NULL, want a gdn_window_pools"));
    if (given->size != sizeof *given)
        return gdn_done(b, gdn_fail(&b->error, GDN_EINVAL, "size = %u, want %zu (sizeof(gdn_window_pools))",
                                    given->size, sizeof *given));
    const gdn_config *c = &b->settings.config;
    p.in_first = given->windows_in == GDN_WINDOWS_IN_FIRST ||
                 (given->windows_in == GDN_WINDOWS_BY_MODE && c->mamba_cache_mode != GDN_CACHE_ALIGN);
    gdn_status status =
        gdn_pools_of_windows(&p, given, slots_of(b, given->group), c->num_speculative_tokens, &b->error);
    return gdn_done(b, status ? status : bring(b, &p, given->group, given->pools, given->num_pools, stream));
}
