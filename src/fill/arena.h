/* Every output buffer in one block of memory whose addresses never change, and how much of each
 * buffer's tail already holds its padding. Padding that is in place is not written again: the writer of a buffer tells
 * gdn_arena_pad_end, and who writes past that calls gdn_arena_forget. */
#ifndef GDN_ARENA_H
#define GDN_ARENA_H

#include "base/config.h"
#include "base/fields.h"

/* Bytes of an element. */
static inline uint32_t gdn_element_size(int32_t dtype)
{
    return dtype == GDN_INT64 ? 8 : dtype == GDN_INT32 ? 4 : 1;
}

/* Bytes after the last element of each buffer: fill_cpu.c writes whole vectors where a run ends early. */
enum { GDN_ARENA_SLACK = 64 };

typedef struct gdn_arena {
    char *base;                        /* device memory on a CUDA builder */
    size_t bytes;
    size_t offset[GDN_NUM_FIELDS];     /* of group 0's buffer */
    size_t group_stride[GDN_NUM_FIELDS]; /* bytes from group to group; 0: the groups share one buffer */
    int32_t capacity[GDN_NUM_FIELDS];  /* elements of one buffer */
    int32_t used[GDN_NUM_FIELDS];      /* elements from here on are known to hold the padding, */
    int32_t padded[GDN_NUM_FIELDS];    /* up to this one */
    int32_t live[GDN_NUM_FIELDS];      /* elements in front that may name slots of the last step, of fields whose slots
                                          a captured graph may read; -1: of others */
    int32_t shown[GDN_NUM_FIELDS], reached[GDN_NUM_FIELDS]; /* what gdn_arena_reach was told and told for it */
    int64_t padding[GDN_NUM_FIELDS];   /* which, of fields whose padding is not the same in every step */
} gdn_arena;

/* Offsets and total size; memory comes from the device. */
void gdn_arena_layout(gdn_arena *arena, const gdn_settings *settings);

/* Nothing is known to be padded: after allocation, or when someone wrote over the arena. */
void gdn_arena_forget(gdn_arena *arena);

/* A step writes `filled` elements and hands out `length`: how far those reach that must not stay as they are, for a
 * graph may read slots of the last step behind them, or where this step has no view at all. Takes note. A step as
 * long as the last one gets the same answer: it may be the same step, which a device need not be given again. */
int32_t gdn_arena_reach(gdn_arena *arena, gdn_field field, int32_t filled, int32_t length);

/* Nothing is known of what was written: slots may lie anywhere. */
void gdn_arena_doubt(gdn_arena *arena);

/* Elements [0, filled) were just written, a view of `length` elements is handed out: returns the end
 * of the stretch [filled, end) that must be padded now, which reaches as far as gdn_arena_reach, and takes note. */
int32_t gdn_arena_pad_end(gdn_arena *arena, gdn_field field, int32_t filled, int32_t length);

/* The same where padding is `value`, which may be another than that of the step before. */
int32_t gdn_arena_pad_end_of(gdn_arena *arena, gdn_field field, int32_t filled, int32_t length, int64_t value);

/* A buffer of a group; the memory is the device's. */
static inline void *gdn_arena_at(const gdn_arena *arena, gdn_field field, int32_t group)
{
    return arena->base + arena->offset[field] + (size_t)group * arena->group_stride[field];
}

/* Of the first group; what has no groups has this one alone. */
static inline void *gdn_arena_first(const gdn_arena *arena, gdn_field field)
{
    return arena->base + arena->offset[field];
}

#endif
