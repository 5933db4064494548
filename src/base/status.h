/* Sentences about failures: every refusal in the core ends in gdn_fail. */
#ifndef GDN_STATUS_H
#define GDN_STATUS_H

#include "gdnmeta.h"

typedef struct gdn_error {
    char text[320];
} gdn_error;

/* Writes the sentence and returns `status`, so that a refusal is one return statement. */
__attribute__((format(printf, 3, 4), cold)) gdn_status gdn_fail(gdn_error *error, gdn_status status, const char *format,
                                                                ...);

/* Return from the function with a failure. */
#define GDN_FAIL(error, status, ...) return gdn_fail(error, status, __VA_ARGS__)
#define GDN_REFUSE(error, ...) GDN_FAIL(error, GDN_EINVAL, __VA_ARGS__)

#endif
