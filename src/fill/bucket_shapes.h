/* Shapes of a bucket's tensors, the table at gdn_bucket in gdnmeta.h. */
#ifndef GDN_BUCKET_SHAPES_H
#define GDN_BUCKET_SHAPES_H

#include "base/config.h"
#include "base/status.h"

/* Is it a bucket of this configuration? Errors: GDN_EINVAL, GDN_ECAP. */
gdn_status gdn_bucket_check(const gdn_settings *settings, int32_t rows, int32_t tokens, gdn_error *error);

/* Sets the bucket's numbers, and shape, dtype and ndim of every tensor; data stay NULL. */
void gdn_bucket_shapes(gdn_metadata *m, const gdn_settings *settings, int32_t rows, int32_t tokens);

#endif
