/* What all records have in common: a head, a checksum, and the order in which a reader doubts them. */
#ifndef GDN_RECORD_H
#define GDN_RECORD_H

#include "base/limits.h"
#include "base/status.h"

#include "gdnmeta_worker.h"

enum { GDN_RECORD_FIELDS = 22, GDN_RESULT_TEXT = 4096 };
enum { GDN_RECORD_MOST = INT32_MAX - 7 }; /* bytes of a record: in an int32_t, and a multiple of 8 */

typedef struct gdn_record_head {
    uint32_t magic, version;
    int64_t bytes; /* of the whole record, a multiple of 8 */
    int64_t number;
    int32_t kind, abi;
    int32_t fields[GDN_RECORD_FIELDS]; /* the kind's own; 0 in those that it has no use for */
    uint64_t checksum;                 /* of everything else */
} gdn_record_head;

_Static_assert(sizeof(gdn_record_head) == 128, "a head without gaps");

enum { GDN_STEP_MAGIC = 0x534e4447, GDN_RESULT_MAGIC = 0x524e4447 }; /* GDNS, GDNR */

/* Bytes rounded up to the records' unit. */
static inline int64_t gdn_record_round(int64_t bytes)
{
    return (bytes + 7) / 8 * 8;
}

/* The last that a writer does: version and checksum. */
void gdn_record_seal(gdn_record_head *head);

/* Is this a whole record of this version, with the right checksum? Its fields are anything at all still. */
gdn_status gdn_record_doubt(const void *record, int64_t bytes, uint32_t magic, gdn_error *error);

/* Every field from `used` on is 0? */
gdn_status gdn_record_unused(const gdn_record_head *head, int32_t used, gdn_error *error);

/* Every byte from `end` to the end of the record is 0? What no field says, no reader may lose. */
gdn_status gdn_record_tail(const gdn_record_head *head, int64_t end, gdn_error *error);

/* The sentence of a refusal for the caller; returns `status`. */
gdn_status gdn_record_refuse(const gdn_error *error, gdn_status status, char *why, size_t why_size);

/* value[n] all in low .. high? Names the first that is not. */
gdn_status gdn_record_range(const char *name, const int32_t *value, int64_t n, int32_t low, int32_t high,
                            gdn_error *error);

#endif
