/* What a launch that brings states or windows carries: addresses of a step's index tensors, and where the pools'
 * slots are. Nothing in it but the tensors' lengths depends on the step. Compiles as C and as CUDA. */
#ifndef GDN_BRING_PLAN_H
#define GDN_BRING_PLAN_H

#include "gdnmeta.h"

enum {
    GDN_BRING_THREADS = 256,    /* of a block */
    GDN_BRING_BLOCKS = 264,     /* of a launch, at most: two for each multiprocessor of an H100 */
    GDN_BRING_STRETCH = 1024,   /* rows that a block looks through at a time */
    GDN_BRING_PIECE = 16 * 1024 /* bytes of a state that a block copies at a time */
};

/* The rows of a class, as the metadata has them. */
typedef struct gdn_bring_rows {
    uint64_t write;   /* int32 [rows, columns] */
    uint64_t read;    /* int32 [rows] */
    uint64_t shift;   /* int32 [rows] */
    uint32_t rows, columns;
} gdn_bring_rows;

typedef struct gdn_bring_plan {
    gdn_bring_rows rows[2];   /* non-spec, spec */
    uint64_t accepted;        /* int32, of spec rows */
    uint64_t boundaries;      /* of spec rows, int32 or int64 */
    int32_t wide;             /* boundaries are int64 */
    int32_t windows;          /* 1: windows, 0: states */
    int32_t spec_rows;        /* GDN_BRING_* */
    int32_t in_first;         /* a row's window is in the first slot that it writes, not in the one that it reads */
    int32_t num_slots;
    uint32_t num_pools;
    int64_t slot_stride;      /* bytes */
    int64_t slot_bytes;       /* states */
    uint32_t pieces;          /* of a slot: of GDN_BRING_PIECE bytes, or windows of GDN_BRING_THREADS channels */
    uint32_t unit;            /* states: bytes of a load, to which all slots are aligned */
    int64_t channel_stride, token_stride; /* windows: bytes */
    uint32_t channels, length, element_bytes;
    uint32_t unused;
    uint64_t pools[GDN_MAX_POOLS];
} gdn_bring_plan;

#endif
