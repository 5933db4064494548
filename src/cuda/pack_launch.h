/* A step as what a launch carries: which arrays, how narrow, and where. Planning finds sizes, writing
 * fills the memory that they decided on. Nothing is allocated after construction. */
#ifndef GDN_PACK_LAUNCH_H
#define GDN_PACK_LAUNCH_H

#include "fill/arena.h"
#include "fill/fill_inputs.h"
#include "cuda/packed_arrays.h"

enum { GDN_GROUP_PIECES = 5 }; /* arrays of slots of a group: to write and to read of either class, to keep */

typedef struct gdn_payload {
    gdn_launch *launch;      /* aligned; its head is the plan's */
    gdn_group *groups;       /* [num_groups], the payload's first bytes */
    size_t num_groups;
    gdn_packer packer;       /* packer.bytes: of the planned payload */
    int32_t *work, *free;    /* [num_work] arrays made for a plan */
    size_t num_work;
    int32_t *wide;           /* strict: [num_groups, max_rows, S + 1] all slots of non-spec rows, or NULL */
    uint32_t blocks;         /* of the launch */
    uint32_t shared_bytes;   /* of a block, for what it searches */
    gdn_head filled;         /* head and payload of the last fill, as long as the outputs are what it wrote */
    const unsigned char *filled_from; /* NULL: the contents of the outputs are unknown */
} gdn_payload;

/* What a configuration needs, in elements but for the bytes. */
typedef struct gdn_payload_sizes {
    size_t groups, pieces, work, wide; /* wide 0: not needed */
    size_t memory;  /* bytes that gdn_payload_new allocates */
    size_t in_ring; /* bytes of the largest payload of any step, where no launch holds it; else 0 */
} gdn_payload_sizes;

gdn_payload_sizes gdn_payload_sizes_of(const gdn_settings *settings);
gdn_status gdn_payload_new(gdn_payload *y, const gdn_settings *settings);
void gdn_payload_free(gdn_payload *y);

/* Memory of an array of n elements, until the next plan. */
static inline int32_t *gdn_payload_take(gdn_payload *y, uint32_t n)
{
    int32_t *out = y->free;
    y->free += n;
    GDN_BOUND(y->free <= y->work + y->num_work,
              "a step makes more arrays than payload_memory.c counts in CLASS_ARRAYS and STEP_ARRAYS");
    return out;
}

/* Decides on the payload and fills the launch's head, but for head.faults. */
void gdn_payload_plan(gdn_payload *y, gdn_arena *arena, const gdn_fill_inputs *in);

/* Part of the plan: the outputs, the launch's blocks and their shared memory. */
void gdn_payload_plan_outputs(gdn_payload *y, gdn_arena *arena, const gdn_fill_inputs *in);

/* Writes packer.bytes bytes. */
void gdn_payload_write(const gdn_payload *y, unsigned char *to);

/* Is the planned step the last fill again? Then the outputs hold it: an element depends on head and payload alone,
 * and on memory of the device where a step names any. */
int gdn_payload_is_filled(const gdn_payload *y);

/* The planned step was launched, with its payload at `from`. */
void gdn_payload_keep(gdn_payload *y, const unsigned char *from);

#endif
