/* What a launch carries: a head, read uniformly from the constant bank, and the payload after it, or
 * in a mapped buffer where it does not fit. Compiles as C and as CUDA. */
#ifndef GDN_KERNEL_PARAMS_H
#define GDN_KERNEL_PARAMS_H

#include <stdint.h>

enum {
    GDN_THREADS = 256,      /* of a block; each writes one element */
    GDN_SHARED = 48 * 1024, /* bytes of shared memory that every device gives a block unasked */
    GDN_MAX_OUTPUTS = 30,
    /* Bytes of head and payload. A pointer and a 32-bit word follow, and ptxas stops at 32,764. */
    GDN_SMALL = 4080,
    GDN_MEDIUM = 12272,
    GDN_LARGE = 32752
};

/* An int32 array of the payload, as narrow as its values allow:
 * value i = base + i * step + the i-th number of `bits` (0, 1, 8, 16, 32), all modulo 2^32. */
typedef struct gdn_packed {
    uint32_t at; /* bytes from the start of the payload, a multiple of 16 */
    uint32_t bits;
    int32_t base, step;
} gdn_packed;

enum { GDN_READ_IMPLIED = -2 }; /* a read column that follows from a device array; GDN_READ_DEFAULT of gdnmeta.h */

/* One class of rows. Arrays are [rows] in the class's own order; those that nothing reads are empty. */
typedef struct gdn_rows {
    uint32_t rows;             /* without padding */
    uint32_t columns;          /* packed slots of a row */
    uint32_t emitted;          /* columns of the state indices */
    uint32_t slots, reads;     /* where the class's slots to write and to read start in a group's slots */
    uint32_t reads_packed;     /* 0: a slot to read is one of the row's packed slots */
    gdn_packed start;          /* [rows + 1] tokens of the class in front of the row */
    gdn_packed first;          /* position of the row's first token in the batch */
    gdn_packed computed;       /* 1: has an initial state */
    gdn_packed accepted;       /* num_accepted_tokens */
    gdn_packed read_column;    /* absolute; -1: fresh, GDN_READ_IMPLIED */
    /* for inputs on the device; -1 stands for a row of padding */
    gdn_packed number;         /* row of the batch */
    gdn_packed table_row, seq_index, accepted_index;
    gdn_packed window;         /* first column of the `align` window, where the host knows it */
} gdn_rows;

/* A cache group, in the payload. */
typedef struct gdn_group {
    uint64_t table;            /* int32 [rows, stride] on the device, or 0: the slots are packed */
    int64_t stride;
    int32_t num_slots, reserved;
    gdn_packed slots;          /* with a table: of checkpoints alone, under strict */
} gdn_group;

enum { GDN_NON_SPEC, GDN_SPEC, GDN_CLASSES };

/* What the elements of an output are. */
enum {
    GDN_FILL_BOUNDS,       /* int32 start of each row, then the end */
    GDN_FILL_WIDE_BOUNDS,  /* int64, likewise */
    GDN_FILL_STATES,       /* int32 slots to write, every group */
    GDN_FILL_READS,        /* int32 slots to read, every group */
    GDN_FILL_ACCEPTED,     /* int32 */
    GDN_FILL_SHIFT,        /* int32 */
    GDN_FILL_MASK,         /* bool */
    GDN_FILL_POSITIONS,    /* int32 0, 1, 2 ... */
    GDN_FILL_TOKENS,       /* int64 positions of the class's tokens */
    GDN_FILL_INITIAL,      /* bool */
    GDN_FILL_CHUNKS,       /* int32 pairs */
    GDN_FILL_CHUNK_STARTS, /* int64 */
    GDN_FILL_TILES,        /* int32, two arrays at once */
    GDN_FILL_PREFILL_BOUNDS,  /* int32 */
    GDN_FILL_WIDE_PREFILL_BOUNDS, /* int64 */
    GDN_FILL_KEPT_OFFSETS,    /* int32 tokens in front of the row's checkpoint */
    GDN_FILL_KEPT_STATES,     /* int32 slots to keep it in, every group */
    GDN_FILL_KEPT_CHUNKS,     /* int32 chunks that they enter */
    GDN_FILL_KEPT_STARTS,     /* int64 */
    GDN_FILL_KEPT_ROWS,       /* int64 */
    GDN_FILL_CLASSES,      /* uint8, class of each token */
    GDN_FILL_COUNTS        /* int32 */
};

/* A run of blocks that fill one output: of rows `first` .. first + live - 1 of a class, or of as many tokens, chunks or
 * tiles, and then padding. */
typedef struct gdn_output {
    uint64_t out;
    uint32_t stride;       /* bytes from a group's array to the next, or to the second array */
    uint32_t per_group;    /* elements of one group's array */
    uint32_t elements;     /* of all */
    uint16_t kind, spec;   /* GDN_FILL_*, class of the rows */
    uint32_t first, live;
} gdn_output;

/* What a device found wrong with its own inputs: faults[k] is the row's number + 1, 0 for none. */
enum { GDN_FAULT_SLOT, GDN_FAULT_COLUMN, GDN_FAULT_SEQ_LEN, GDN_FAULT_ACCEPTED, GDN_NUM_FAULTS };

typedef struct gdn_head {
    uint64_t seq_lens, accepted;  /* device arrays, or 0 */
    uint64_t faults;              /* int32 [GDN_NUM_FAULTS] */
    int32_t strict, align;        /* flags */
    int32_t block_size, last_column; /* tokens a block; last column of an `align` window */
    int32_t table_columns, repeat_column;
    int32_t most_accepted;        /* S + 1 */
    int32_t num_decode_tokens;
    uint32_t chunk_rows;          /* rows that have chunks */
    int32_t bucket_rows, bucket_tokens; /* what padding of pairs and of token lists names */
    int32_t tokens, prefills_from; /* of the batch, padding not counted; token that the first prefill starts at */
    int32_t unused;
    int32_t live_counts[8];
    gdn_packed mask;              /* of the rows that it speaks of */
    gdn_packed chunk_start;       /* first chunk of each row, then their number */
    gdn_packed chunk_owner;       /* the same without rows that have none */
    gdn_packed tile_start;
    gdn_packed kept_offset;       /* of the checkpoints, [rows that may have one] */
    gdn_packed kept_column;       /* where a table is on the device; -1: none */
    gdn_packed kept_start;        /* [prefills + 1], with a plan */
    uint32_t kept_slots;          /* where the group's slots for checkpoints start among its slots */
    int32_t kept_every, kept_others; /* tokens, of the plan; rows in front of the prefills, may be below 0 */
    gdn_rows classes[GDN_CLASSES];
    uint32_t groups;              /* where the gdn_group records lie in the payload */
    uint32_t num_outputs;
    uint32_t first_block[GDN_MAX_OUTPUTS]; /* of each output; those that are not there never come */
    int32_t pad_slot;             /* the slot of no row */
    gdn_output outputs[GDN_MAX_OUTPUTS];
} gdn_head;

/* The largest of the three kernels' parameters; the others end sooner. Loads of 16 bytes want the alignment. */
typedef struct gdn_launch {
    gdn_head head;
    unsigned char payload[GDN_LARGE - sizeof(gdn_head)];
} gdn_launch;

enum { GDN_LAUNCH_ALIGNMENT = 16 };

#endif
