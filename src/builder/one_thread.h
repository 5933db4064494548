/* Debug builds (-DGDN_DEBUG) refuse a builder that another thread is in the middle of using. Others pay nothing. */
#ifndef GDN_ONE_THREAD_H
#define GDN_ONE_THREAD_H

#include "builder/builder.h"

#ifdef GDN_DEBUG

/* Takes the builder until gdn_done; not 0: another thread has it, and gdn_last_error tells this thread so. */
int gdn_busy(gdn_builder *b);
gdn_status gdn_done(gdn_builder *b, gdn_status status);

/* What gdn_last_error says to this thread, where that is not the builder's own sentence: else NULL. */
const char *gdn_busy_error(const gdn_builder *b);

#else

static inline int gdn_busy(gdn_builder *b)
{
    (void)b;
    return 0;
}

static inline gdn_status gdn_done(gdn_builder *b, gdn_status status)
{
    (void)b;
    return status;
}

static inline const char *gdn_busy_error(const gdn_builder *b)
{
    (void)b;
    return NULL;
}

#endif

#endif
