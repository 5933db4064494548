/* Inputs that live on the device: what the host still has to know of them, and checks. */
#ifndef GDN_DEVICE_INPUTS_H
#define GDN_DEVICE_INPUTS_H

#include "input/step.h"

typedef struct gdn_device_inputs {
    const int32_t *seq_lens, *accepted;   /* device memory, or NULL */
    int32_t num_seq_lens, num_accepted;
    int32_t tables;                       /* groups whose table is on the device */
    int32_t *seq_len, *ones;              /* [max_rows] stand-ins for what the host does not know */
} gdn_device_inputs;

gdn_status gdn_device_inputs_new(gdn_device_inputs *r, int32_t max_rows);
void gdn_device_inputs_free(gdn_device_inputs *r);

/* A length that tells fresh rows from others, which is all that the host looks at. */
static inline int32_t gdn_stand_in_seq_len(int32_t query_len, int32_t read_column)
{
    return query_len > 0 && query_len < INT32_MAX && read_column != -1 ? query_len + 1 : query_len;
}

/* Points the step to what is on the device, or refuses it; to accepted counts only where it has not made its own. */
gdn_status gdn_device_inputs_apply(const gdn_device_inputs *r, const gdn_settings *settings, gdn_step *step,
                                   gdn_error *error);
gdn_status gdn_device_accepted_apply(const gdn_device_inputs *r, gdn_step *step, gdn_error *error);

#endif
