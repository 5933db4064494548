/* What a check of a step's outputs carries: the tensors as they were handed out and the step's scalars, nothing
 * that the fill was told. Compiles as C and as CUDA. */
#ifndef GDN_VERIFY_INPUT_H
#define GDN_VERIFY_INPUT_H

#include "base/fields.h"
#include "base/limits.h"

enum { GDN_VERIFY_THREADS = 256, GDN_UNUSED_STRETCH = 16 };

/* Of the metadata's tensors. */
typedef struct gdn_verify_tensor {
    uint64_t data;       /* of group 0; 0: the step has none */
    uint32_t stride;     /* bytes from a group's array to the next */
    uint32_t elements;   /* of one group's array */
    uint32_t groups;     /* arrays */
    int32_t dtype;
} gdn_verify_tensor;

/* A buffer's memory after the tensor. */
typedef struct gdn_unused {
    uint64_t buffer;     /* of group 0; 0: nothing to poison */
    uint32_t stride, used, bytes; /* from a group to the next, in use, of one buffer */
    uint32_t groups;
} gdn_unused;

/* What is known of the rows of a class. */
typedef struct gdn_verify_rows {
    int64_t least_end, most_end; /* the last real row's end, in tokens of the class */
    int32_t real;                /* rows; those after are padding */
    int32_t least, most;         /* tokens of a row */
    uint32_t boundaries;         /* GDN_FIELD_* */
} gdn_verify_rows;

typedef struct gdn_verify_input {
    uint64_t found;          /* uint64_t, see gdn_report */
    uint64_t claims;         /* uint64_t [groups, most_slots], see gdn_claim_slot; 0: uses of slots are not recorded */
    uint64_t most_slots, claimable; /* of a pool; claims in all */
    uint32_t step, stamp;    /* low bits of the step's number; a number of this check's own, below 2^30 */
    int32_t strict, capture, mixed, for_graph; /* flags; capture: a strict one, whose slots are all pad_slot */
    int32_t num_spec_decodes;
    int32_t decodes;         /* non-spec rows in front that cannot be prefills; -1: unknown */
    int32_t decode_tokens, tokens; /* of those rows; of both classes */
    int32_t first_prefill;   /* first non-spec row of the prefill_* tensors */
    int32_t tokens_before_prefills;
    int32_t most_accepted;   /* S + 1 */
    uint32_t columns;        /* of spec_state_indices_tensor */
    int32_t least_prefill;   /* tokens of the first prefill */
    int32_t kept_grid;       /* tokens: offsets of checkpoints are multiples */
    int32_t kept_every, num_checkpoints; /* of the plan; 0: none */
    uint32_t kept_boundaries; /* GDN_FIELD_* of the rows of the checkpoint_* */
    int32_t kept_others;     /* rows of the checkpoint_* in front of the prefills */
    uint32_t chunk_boundaries; /* GDN_FIELD_* whose rows the chunk tables number */
    int32_t pad_slot;
    int32_t has_bucket, has_lists; /* flags; has_lists: of tokens */
    int32_t bucket_rows, bucket_tokens;
    int32_t live[GDN_LIVE_COUNTS]; /* what live_counts should be */
    gdn_verify_rows rows[2]; /* non-spec, spec */
    int32_t num_slots[GDN_MAX_GROUPS];
    gdn_verify_tensor fields[GDN_NUM_FIELDS];
    gdn_unused unused[GDN_NUM_FIELDS];
    uint32_t first_block[2 * GDN_NUM_FIELDS]; /* of each field's elements, then of each buffer's unused memory */
    uint32_t blocks;
} gdn_verify_input;

#endif
