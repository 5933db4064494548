/* Blocks of an attention cache, as kv_blocks.c and kv_device.c share them. */
#ifndef GDN_KV_BLOCKS_H
#define GDN_KV_BLOCKS_H

#include "builder/builder.h"
#include "gdnmeta_scheduler.h"

enum { GDN_KV_STEPS = 4 }; /* slot mappings at most */

struct gdn_kv {
    gdn_kv_config config;
    gdn_device *device;    /* held */
    int32_t *stack;        /* [num_blocks] free blocks, the next one to hand out at the end */
    int32_t *holders;      /* [num_blocks] 0: free */
    int32_t *table;        /* [rows, columns] */
    int32_t *length, *sent; /* [rows] columns in use, and those of them that the device has */
    int32_t *stale, num_stale; /* [rows] rows that have more than the device, each once */
    int64_t *mapping[GDN_KV_STEPS];
    uint64_t device_table, device_mapping[GDN_KV_STEPS]; /* 0 on the CPU */
    int32_t available, tokens;
};

/* The device lacks some of the row. */
void gdn_kv_note_stale(gdn_kv *kv, int32_t row);

static inline int32_t *gdn_kv_row(const gdn_kv *kv, int32_t row)
{
    return kv->table + (size_t)row * (size_t)kv->config.columns;
}

#endif
