/* What a host says of its pools: is it possible, and where is a slot then? */
#ifndef GDN_POOLS_H
#define GDN_POOLS_H

#include "bring/bring_plan.h"
#include "base/status.h"

/* Set what the plan says of slots. most_shift: tokens that a window may have to move.
 * Errors: GDN_EINVAL, and the plan is then worth nothing. */
gdn_status gdn_pools_of_states(gdn_bring_plan *p, const gdn_state_pools *given, int32_t num_slots, gdn_error *error);
gdn_status gdn_pools_of_windows(gdn_bring_plan *p, const gdn_window_pools *given, int32_t num_slots, int32_t most_shift,
                                gdn_error *error);

/* Bytes from a pool's first to the one after its last. */
size_t gdn_pool_bytes(const gdn_bring_plan *p);

/* Set the pools: none may overlap another, or `bytes` at `ours`. Errors: GDN_EINVAL. */
gdn_status gdn_pools_place(gdn_bring_plan *p, void *const *pools, int32_t num_pools, const void *ours, size_t bytes,
                           gdn_error *error);

/* What messages call pool i: "pool" where it is the only one. Valid until the next call with the same buffer. */
const char *gdn_pool_name(const gdn_bring_plan *p, uint32_t i, char buffer[24]);

#endif
