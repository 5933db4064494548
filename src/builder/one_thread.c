/* One thread at a time: the flag that debug builds keep. */
#include "builder/one_thread.h"

#ifdef GDN_DEBUG

/* The refused thread must not write where the other one does, the builder's sentence included. */
static _Thread_local const gdn_builder *refused;

int gdn_busy(gdn_builder *b)
{
    int busy = atomic_exchange_explicit(&b->busy, 1, memory_order_acquire);
    refused = busy ? b : NULL;
    return busy;
}

gdn_status gdn_done(gdn_builder *b, gdn_status status)
{
    atomic_store_explicit(&b->busy, 0, memory_order_release);
    return status;
}

const char *gdn_busy_error(const gdn_builder *b)
{
    return refused == b ? "another thread is using the builder, want one thread at a time" : NULL;
}

#else

typedef int gdn_nothing_here; /* C wants something in every file */

#endif
