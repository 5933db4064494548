/* The configuration of a builder with every default filled in. */
#include "builder.h"

void gdn_builder_config(const gdn_builder *b, gdn_config *out)
{
    if (!out) return;
    gdn_config_init(out);
    if (!b) return;
    *out = b->settings.config;
    out->size = sizeof *out;
    out->num_slots = b->settings.num_slots;
}
