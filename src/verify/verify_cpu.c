/* Checks by fields. */
#include "verify/verify_cpu.h"

#include "verify/verify_element.h"

#include <string.h>

static void check_field(const gdn_verify_input *c, uint32_t field)
{
    const gdn_verify_tensor *t = &c->fields[field];
    for (uint32_t g = 0; g < t->groups; g++) {
        int64_t spec_before = 0;
        for (uint32_t i = 0; i < t->elements; i++) {
            int32_t code = gdn_verify_element(c, field, g, i, spec_before);
            if (code) gdn_report(c, field, g, i, code);
            if (field == GDN_FIELD_spec_sequence_masks) spec_before += gdn_shared(c, field, i) & 1;
        }
    }
}

static void poison_buffer(const gdn_unused *u)
{
    for (uint32_t g = 0; u->buffer && g < u->groups; g++)
        memset((char *)(uintptr_t)u->buffer + (size_t)g * u->stride + u->used, 0xa5, u->bytes - u->used);
}

void gdn_verify_cpu(const gdn_verify_input *c)
{
    gdn_forget_claim(c);
    for (uint32_t f = 0; f < GDN_NUM_FIELDS; f++) check_field(c, f);
    for (uint32_t f = 0; f < GDN_NUM_FIELDS; f++) poison_buffer(&c->unused[f]);
}
