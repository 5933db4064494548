/* How long a step's tensors must be, from its scalars. */
#ifndef GDN_VERIFY_SHAPES_H
#define GDN_VERIFY_SHAPES_H

#include "base/config.h"
#include "base/fields.h"

typedef struct gdn_shapes {
    int32_t speculative, mixed, for_graph, has_prefills, has_bucket;
    int64_t want[GDN_NUM_FIELDS]; /* elements, or one of these: */
} gdn_shapes;

enum { GDN_NO_TENSOR = -1, GDN_ANY_LENGTH = -2 };

void gdn_shapes_expect(gdn_shapes *s, const gdn_settings *settings, const gdn_metadata *meta);

#endif
