/* What a builder takes, before it is made. */
#ifndef GDN_FOOTPRINT_H
#define GDN_FOOTPRINT_H

#include "base/config.h"

/* Every allocation of a builder whose outputs take arena_bytes; INT64_MAX: that many or more. */
int64_t gdn_footprint(const gdn_settings *settings, size_t arena_bytes);

#endif
