/* Writing step records, when everything is checked. */
#ifndef GDN_STEP_PACK_H
#define GDN_STEP_PACK_H

#include "worker/step_layout.h"

/* Is every array there? Not those of slots, which a batch has in another form. */
gdn_status gdn_step_check_arrays(const gdn_step_record *step, const gdn_step_layout *layout, gdn_error *error);

/* Does the record fit? */
gdn_status gdn_step_check_size(const gdn_step_layout *layout, const void *out, int64_t size, gdn_error *error);

/* Copies what does not stand in `out` yet, then the head. Returns the bytes of the record. */
int32_t gdn_step_seal(const gdn_step_record *step, const gdn_step_layout *layout, void *out);

#endif
