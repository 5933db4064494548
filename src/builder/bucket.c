/* A bucket's shapes, for hosts that allocate before they make a builder. */
#include "fill/bucket_shapes.h"

#include <stdio.h>

gdn_status gdn_bucket(const gdn_config *config, int32_t rows, int32_t tokens, gdn_metadata *out, char *why,
                      size_t why_size)
{
    gdn_error error;
    gdn_settings settings;
    gdn_status status = gdn_settings_make(config, &settings, &error);
    if (!status) status = gdn_bucket_check(&settings, rows, tokens, &error);
    if (!status && !out) status = gdn_fail(&error, GDN_EINVAL, "out = NULL, want a place for the shapes");
    if (!status) gdn_bucket_shapes(out, &settings, rows, tokens);
    else if (why && why_size) (void)snprintf(why, why_size, "%s", error.text);
    return status;
}
