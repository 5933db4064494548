/* Counting forks: the handler runs in the child, whose count then differs from its parent's. */
#include "base/fork_count.h"

#include <pthread.h>
#include <stdatomic.h>

static _Atomic uint32_t fork_count;
static int refused; /* there was no memory to watch with */

static void in_child(void)
{
    atomic_fetch_add_explicit(&fork_count, 1, memory_order_relaxed);
}

static void watch(void)
{
    refused = pthread_atfork(NULL, NULL, in_child);
}

uint32_t gdn_fork_count(void)
{
    return atomic_load_explicit(&fork_count, memory_order_relaxed);
}

int gdn_fork_count_watch(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    return pthread_once(&once, watch) || refused;
}
