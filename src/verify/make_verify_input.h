/* The questions that a check asks of one step's outputs. */
#ifndef GDN_MAKE_VERIFY_INPUT_H
#define GDN_MAKE_VERIFY_INPUT_H

#include "fill/arena.h"
#include "verify/verify_input.h"

/* Fills in what follows from the step: all but found, claims, capture, step and stamp. Returns the first field whose
 * tensor is not as long as the scalars say, of which then nothing but the unused memory is looked at; else
 * GDN_NUM_FIELDS. */
uint32_t gdn_make_verify_input(gdn_verify_input *p, const gdn_settings *settings, const gdn_arena *arena,
                               const gdn_metadata *meta);

#endif
