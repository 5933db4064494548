/* Zeroed memory that scripts write through bare pointers, with a canary on either side. */
#ifndef GDN_GUARDED_MEMORY_H
#define GDN_GUARDED_MEMORY_H

#include <stddef.h>
#include <stdint.h>

void *gdn_guarded_new(size_t bytes); /* 64-byte aligned; NULL without memory */
size_t gdn_guarded_bytes(size_t bytes); /* what that allocates */
void gdn_guarded_free(void *memory); /* NULL is allowed */
int gdn_guarded_intact(const void *memory, size_t bytes);

/* The first of n arrays of `bytes` that something wrote outside of, or -1. */
int gdn_guarded_damaged(int32_t *const *arrays, int n, size_t bytes);

#endif
