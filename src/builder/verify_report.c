/* What checks found, in words. */
#include "builder/builder.h"
#include "verify/verify_atomic.h"

static const char *const FIELDS[] = {
#define X(name, type, capacity, per_group) #name,
    GDN_FIELDS(X)
#undef X
};

static const char *const WORDS[] = {
    [GDN_CHECK_SHAPE] = "is longer or shorter than the step's counts say",
    [GDN_CHECK_BOUNDARY] = "is no boundary that the rows around it, their class and its tokens allow",
    [GDN_CHECK_PADDING] = "is not what padding holds",
    [GDN_CHECK_TOKENS] = "leads to a token that is not where the boundaries and the mask say",
    [GDN_CHECK_MASK] = "contradicts the boundaries or the number of speculative rows",
    [GDN_CHECK_SLOT] = "is no slot that can stand there",
    [GDN_CHECK_SHARED] = "is a slot that two rows use, one of them to write",
    [GDN_CHECK_ACCEPTED] = "is outside 1 .. num_speculative_tokens + 1",
    [GDN_CHECK_INITIAL] = "contradicts the slot to read or the row's class",
    [GDN_CHECK_CHUNKS] = "contradicts the boundaries or the other chunk table",
    [GDN_CHECK_TILES] = "or its token_chunk_offset_ptr contradicts the boundaries or the tile before",
    [GDN_CHECK_TAIL] = "differs from what the non-spec rows have there",
    [GDN_CHECK_SHIFT] = "contradicts the accepted tokens or the slot to read",
    [GDN_CHECK_CLASS] = "is not the class that its token has",
    [GDN_CHECK_LIVE] = "is not what the step counts",
    [GDN_CHECK_CHECKPOINT] = "contradicts the boundaries or the checkpoint's other fields",
};

static gdn_status describe(gdn_builder *b, const gdn_violation *v)
{
    long long step = v->step;
    if (v->code == GDN_CHECK_REFUSED)
        return gdn_fail(&b->error, GDN_EINVAL, "step %lld was not checked: %s", step, b->verifier.refusal.text);
    if (v->code == GDN_CHECK_SHAPE)
        return gdn_fail(&b->error, GDN_EINVAL, "step %lld: %s %s", step, v->field, WORDS[v->code]);
    if (b->settings.config.num_groups > 1)
        return gdn_fail(&b->error, GDN_EINVAL, "step %lld: %s[%d] of group %d %s", step, v->field, v->element, v->group,
                        WORDS[v->code]);
    return gdn_fail(&b->error, GDN_EINVAL, "step %lld: %s[%d] %s", step, v->field, v->element, WORDS[v->code]);
}

gdn_status gdn_check_result(gdn_builder *b, int32_t forget, gdn_violation *out)
{
    if (!b) return GDN_EINVAL;
    gdn_verifier *verifier = &b->verifier;
    gdn_verifier_note(verifier, b->device, b->metadata.step);
    uint64_t word = verifier->noted;
    if (!word) return GDN_OK;
    gdn_violation v = { .step = verifier->noted_step,
                        .field = FIELDS[word >> GDN_FOUND_FIELD & 63],
                        .group = (int32_t)(word >> GDN_FOUND_GROUP & 63),
                        .element = (int32_t)(word >> GDN_FOUND_ELEMENT & INT32_MAX),
                        .code = (int32_t)(word & 31) };
    if (out) *out = v;
    if (forget) verifier->noted = *b->device->found = 0;
    return describe(b, &v);
}

gdn_status gdn_check(gdn_builder *b, void *stream)
{
    if (!b) return GDN_EINVAL;
    gdn_verifier *verifier = &b->verifier;
    if (!b->settings.config.check)
        return gdn_fail(&b->error, GDN_EINVAL, "check = false, want a builder with check = true");
    if (b->metadata.step < 1) return gdn_fail(&b->error, GDN_EINVAL, "nothing is built, want a build before its check");
    return gdn_verifier_run(verifier, &b->settings, &b->arena, b->device, &b->metadata, verifier->input.capture, stream,
                            &b->error);
}
