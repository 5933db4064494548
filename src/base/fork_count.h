/* Is this still the process that something was made in? Asked in every step, so without a system call. */
#ifndef GDN_FORK_COUNT_H
#define GDN_FORK_COUNT_H

#include <stdint.h>

/* How many forks lie between the process that began to watch and this one. A bare clone is not counted. */
uint32_t gdn_fork_count(void);

/* Watches from now on. 0, or there was no memory for it. */
int gdn_fork_count_watch(void);

#endif
