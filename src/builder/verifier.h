/* A builder's checks: what to ask of a step's outputs, and what was found. */
#ifndef GDN_VERIFIER_H
#define GDN_VERIFIER_H

#include "verify/verify_input.h"
#include "device/device.h"

typedef struct gdn_verifier {
    gdn_verify_input input;
    int32_t wanted;        /* to check or to poison */
    uint64_t noted;        /* a violation's word (verify_atomic.h), or 0; stays until it is forgotten */
    int64_t noted_step;
    gdn_error refusal;     /* what the device said to a check that it did not make */
} gdn_verifier;

/* Memory that it reserves on the device. */
size_t gdn_verifier_bytes(const gdn_settings *settings);

/* Errors: GDN_EINVAL, GDN_ENOMEM, GDN_EDEVICE. */
gdn_status gdn_verifier_new(gdn_verifier *verifier, const gdn_settings *settings, const gdn_arena *arena,
                            gdn_device *device, gdn_error *error);

/* Checks what the last fill will have written, in order on `stream`, and waits for nothing. capture: the step's slots
 * are pad_slot_id. Errors: GDN_EINVAL, GDN_EDEVICE. */
gdn_status gdn_verifier_run(gdn_verifier *verifier, const gdn_settings *settings, gdn_arena *arena, gdn_device *device,
                            const gdn_metadata *meta, int32_t capture, void *stream, gdn_error *error);

/* The same for a build, which succeeds whatever becomes of its check: a refusal is a result like others. */
void gdn_verifier_follow(gdn_verifier *verifier, const gdn_settings *settings, gdn_arena *arena, gdn_device *device,
                         const gdn_metadata *meta, int32_t capture, void *stream);

/* Takes note of a violation that the device has found by now; the last step was number `step`. Steps in flight are
 * fewer than a word can tell apart. */
void gdn_verifier_note(gdn_verifier *verifier, const gdn_device *device, int64_t step);

#endif
