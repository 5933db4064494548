/* The configuration of a builder with every default filled in. */
#include "builder.h"

void gdn_builder_config(const gdn_builder *b, gdn_config *out)
{
    *out = b->settings.config;
    out->size = sizeof *out;
    out->num_slots = b->settings.num_slots;
}
