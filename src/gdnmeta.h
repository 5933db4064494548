/* gdnmeta.h - Gated-DeltaNet attention metadata for one serving step.
 *
 * A step flows through this file from top to bottom: a host makes a builder once, writes the
 * rows of a step into a batch, calls gdn_build, and reads tensors out of the metadata.
 *
 *     gdn_config config;
 *     gdn_builder *builder;
 *     gdn_batch *batch;
 *     char why[256];
 *     gdn_config_init(&config);
 *     if (gdn_builder_new(&config, &builder, why, sizeof why)) return puts(why);
 *     if (gdn_batch_new(builder, &batch)) return puts("no memory");
 *     batch->num_rows = 1;                        // the next token of a request of 2,001, whose state is in slot 7
 *     batch->query_len[0] = 1, batch->seq_len[0] = 2001, batch->prompt_done[0] = 1;
 *     batch->num_draft_tokens[0] = -1, batch->num_accepted_tokens[0] = 1;
 *     batch->table_row[0] = ~0, batch->blocks[0] = 7, batch->read_column[0] = GDN_READ_DEFAULT;
 *     if (gdn_build(builder, batch, NULL)) return puts(gdn_last_error(builder));
 *     const gdn_metadata *meta = gdn_builder_metadata(builder);
 *     printf("slot %d\n", *(int32_t *)meta->non_spec_state_indices_tensor.data);
 *
 * This header is the only description of the ABI: LuaJIT's cdef is generated from it
 * (lua/gdnmeta/native/cdef.lua), so that no declaration is written twice.
 *
 * Conventions of every function below:
 *   - gdn_status 0 is success, a negative one is failure. A failure changes nothing that the caller can see. If the
 *     call took a builder that is not const, gdn_last_error names the offending element, its value and the expected
 *     range;
 *   - GDN_OWN results are released with the *_free of their type; everything else is borrowed;
 *   - lengths are in tokens, positions are token indices, slots are rows of a state pool, and
 *     slot 0 is the null slot: kernels neither read nor write it;
 *   - a pointer marked GDN_NULL_OK may be NULL. Any other NULL is refused with GDN_EINVAL; a function without a status
 *     then does nothing, or returns what it returns for an unknown thing: NULL, 0, -1 or infinity. *_free(NULL) does
 *     nothing. A `stream` of NULL is the default stream. Pointers that are not NULL are trusted;
 *   - shapes are given next to the field, [outer, inner], row-major and contiguous;
 *   - a builder and its batches are used by one thread at a time; different builders are independent. A library
 *     compiled with -DGDN_DEBUG refuses a builder that another thread is using (GDN_EINVAL);
 *   - after a fork, parent and child may each use and free CPU builders. A CUDA builder belongs to the process that
 *     made it: in a child, calls that reach the device are refused (GDN_EDEVICE), and gdn_builder_free frees host
 *     memory only. Make CUDA builders after the fork.
 */
#ifndef GDNMETA_H
#define GDNMETA_H

#ifndef GDNMETA_CDEF /* LuaJIT already knows these types */
#include <stddef.h>
#include <stdint.h>
#define GDN_API __attribute__((visibility("default")))
#ifdef __cplusplus
extern "C" {
#endif
#else
#define GDN_API
#endif
#define GDN_OWN     /* marks a transfer of ownership; has no effect */
#define GDN_NULL_OK /* marks a pointer that may be NULL; others may not */

/* The version of this header, and the only place that states it: the build, the Lua modules and the packages read it
 * here. */
#define GDN_VERSION_MAJOR 0
#define GDN_VERSION_MINOR 2
#define GDN_VERSION_PATCH 0
#define GDN_VERSION (GDN_VERSION_MAJOR * 10000 + GDN_VERSION_MINOR * 100 + GDN_VERSION_PATCH) /* for #if */

/* Changes with any layout or signature. The second number is a hash of those: spec/core/abi_spec.lua fails if the two
 * no longer match. gdn_abi() returns the library's. */
enum { GDN_ABI = 10 }; /* d43d053786c6d95d */

/* ---- 1. Status ---- */

/* A plain int32: LuaJIT boxes enums, which would create garbage. */
typedef int32_t gdn_status;
enum {
    GDN_OK = 0,
    GDN_EINVAL = -1, /* an argument or a row is outside its documented domain */
    GDN_ENOMEM = -2, /* out of memory, in construction */
    GDN_ECAP = -3,   /* the step is larger than the builder was made for */
    GDN_EGUARD = -4, /* something wrote outside a batch's or state table's memory */
    GDN_EDEVICE = -5 /* the device or its driver refused; the message quotes it */
};

GDN_API int32_t gdn_abi(void);
GDN_API const char *gdn_version(void); /* "<major>.<minor>.<patch>" of the library; GDN_VERSION is the header's */
GDN_API const char *gdn_strstatus(int32_t status); /* static, never NULL */

/* ---- 2. Configuration, and a builder made for it ---- */

/* Which batches are legal, and what is built from unusual ones. The vLLM rule sets reproduce the builder of that
 * version value by value, quirks and refusals included. */
enum {
    GDN_RULES_STRICT = 0,      /* right or refused: see "Legal batches" at gdn_build */
    GDN_RULES_VLLM_2026_04 = 1,
    GDN_RULES_VLLM_2026_08 = 2, /* request-granular padding, prefills also on their own */
    GDN_RULES_VLLM_2026_11 = 3  /* fresh rows are prefills, padding after prefills is in no class, checkpoints */
};

/* Layout of a state table's row. */
enum {
    GDN_CACHE_NONE = 0,  /* columns 0 .. S hold the request's state blocks */
    GDN_CACHE_ALIGN = 1, /* column c holds the state after (c + 1) * mamba_block_size tokens; a step
                            uses the window that starts at max((seq_len - 1) / mamba_block_size, 0) */
    GDN_CACHE_ALL = 2    /* one column per block, all kept; read like NONE (vllm-2026-11: like ALIGN) */
};

/* 0, 1, ...: that CUDA device. AUTO: the device of the current CUDA context, else the first one; the CPU if there is
 * no driver, no device, or no kernel in the library. A builder uses the context that is current when it is made, which
 * must outlive the builder and its exports. Without one it holds the device's primary context. */
enum { GDN_DEVICE_CPU = -1, GDN_DEVICE_AUTO = -2 };

enum { GDN_PREFILL_TRITON = 0, GDN_PREFILL_FLASHINFER = 1 }; /* kernels that compute prefills */

enum { GDN_INT32 = 0, GDN_INT64 = 1, GDN_BOOL = 2, GDN_UINT8 = 3 }; /* tensor elements; a bool is one byte, 0 or 1 */

/* Steps for captured graphs: full_cuda_graph. */
enum {
    GDN_GRAPH_NONE = 0,
    GDN_GRAPH_DECODE = 1, /* those without prefills are padded, see gdn_metadata */
    GDN_GRAPH_MIXED = 2   /* strict: every step has the shapes of its bucket, see gdn_bucket */
};

/* What a builder is made for. S is num_speculative_tokens, CAP is decode_cudagraph_max_bs:
 * max_num_seqs * (S + 1), or max_cudagraph_capture_size where that is smaller. */
typedef struct gdn_config {
    uint32_t size;                      /* sizeof(gdn_config) as the caller compiled it */
    int32_t rules;                      /* GDN_RULES_* */
    const int32_t *num_slots;           /* [num_groups] pool sizes, null slot included; a written slot is
                                           below. NULL: 1 + max_requests * max_blocks_per_row */
    int32_t device;                     /* GDN_DEVICE_* or a CUDA ordinal */
    int32_t max_num_seqs;               /* 1 .. 65536 */
    int32_t max_num_batched_tokens;     /* >= 1; capacity in tokens, padded ones included */
    int32_t max_rows;                   /* 1 .. 65536; capacity in rows, padded ones included; 0: max(max_num_seqs,
                                           CAP) */
    int32_t num_speculative_tokens;     /* S, 0 .. 64 */
    int32_t full_cuda_graph;            /* GDN_GRAPH_* */
    int32_t max_cudagraph_capture_size; /* tokens; 0: no such limit */
    int32_t mamba_cache_mode;           /* GDN_CACHE_* */
    int32_t mamba_block_size;           /* tokens per block, >= 1 */
    int32_t num_speculative_blocks;     /* >= 0; `align`: extra columns of the window */
    int32_t num_groups;                 /* 1 .. 64 cache groups served by one build */
    int32_t max_requests;               /* rows of each state table; 0: max_rows */
    int32_t max_blocks_per_row;         /* columns of each state table; 0: S + 1 (`align`: 1 +
                                           num_speculative_blocks if larger) */
    int32_t parallel_drafting;          /* 0 or 1 */
    int32_t decode_context_parallel_size; /* >= 1; 0 means 1 */
    int32_t check_unique;               /* 0 or 1: strict refuses a slot that one row writes and another uses */
    int32_t pad_slot_id;                /* 0 or -1: what stands for "no row" in the state indices, see gdn_metadata */
    int32_t query_start_loc_dtype;      /* GDN_INT32 or GDN_INT64: elements of the three *query_start_loc */
    int32_t check;                      /* 0 or 1: each build verifies its outputs on their device, see
                                           gdn_check_result */
    int32_t poison;                     /* 0 or 1: after each build, fill the unused part of every output buffer with
                                           0xA5 */
    int32_t gdn_prefill_backend;          /* GDN_PREFILL_*; strict and vllm-2026-11. flashinfer: no chunk tables. In
                                             buckets this changes nothing */
    /* Rules vllm-2026-11 alone; under others each must be what gdn_config_init sets, 0. */
    int32_t num_prefill_checkpoint_blocks; /* 0: prefills keep no state before their end */
    int32_t prefill_checkpoint_alignment; /* tokens; 0: not given, and no row has a checkpoint */
    int32_t hash_block_size;              /* tokens; 0: not given, no checkpoints */
    int32_t cache_hit_alignment_tokens;   /* tokens; 0: not given, no checkpoints */
    int32_t num_hash_lookahead_tokens;    /* tokens, >= 0 */
    int32_t drop_eagle_block;             /* 0 or 1; counts only with S > 0 and without lookahead */
    int32_t checkpoint_any;               /* 0 or 1, strict alone: checkpoints may stand within a chunk of 64 tokens */
} gdn_config;

/* Set the defaults: strict on the CPU, 256 requests, 8,192 tokens, one group, no speculation, no graphs, check_unique.
 * A host starts from these and sets what it wants; a zeroed struct is not a configuration. */
GDN_API void gdn_config_init(gdn_config *config);

typedef struct gdn_builder gdn_builder;

/* Facts derived from a configuration; constant for the builder's life. */
typedef struct gdn_builder_info {
    int64_t bytes;                   /* allocated by the builder; gdn_builder_bytes returns the same in advance */
    int32_t decode_cudagraph_max_bs; /* CAP */
    int32_t num_spec;                /* S */
    int32_t reorder_batch_threshold; /* rows with query lengths up to this may be among the decodes */
    int32_t max_rows, max_num_batched_tokens, max_requests, max_blocks_per_row, num_groups;
    int32_t device;                  /* GDN_DEVICE_CPU or the CUDA ordinal */
    int32_t rules;
} gdn_builder_info;

/* Make a builder. Everything that a step needs is allocated here, for the largest step that the configuration allows.
 * On failure *out is untouched and why[why_size] holds the reason. Errors: GDN_EINVAL, GDN_ENOMEM, GDN_EDEVICE. */
GDN_API gdn_status gdn_builder_new(const gdn_config *config, GDN_OWN gdn_builder **out, GDN_NULL_OK char *why,
                                   size_t why_size);
GDN_API void gdn_builder_free(GDN_OWN GDN_NULL_OK gdn_builder *b); /* batches and exports may outlive it */
GDN_API void gdn_builder_describe(const gdn_builder *b, gdn_builder_info *out);

/* Bytes that a builder will allocate, on the host and the device together, without the driver's own. AUTO counts as
 * CUDA, which takes more than the CPU. On the CPU, pages of tables and outputs that no step writes cost no memory.
 * A batch takes another 4 * max_rows * (8 + num_groups * (1 + max_blocks_per_row)) bytes; on CUDA 10 instead of 8.
 * Errors: GDN_EINVAL as from gdn_builder_new; *out is then untouched. */
GDN_API gdn_status gdn_builder_bytes(const gdn_config *config, int64_t *out, GDN_NULL_OK char *why, size_t why_size);

/* Message of the most recent failure on b; valid until the next call on b; never NULL. */
GDN_API const char *gdn_last_error(const gdn_builder *b);

/* The state table of a cache group: int32 [max_requests, max_blocks_per_row]. It begins as zeros, is written by the
 * host, keeps its contents between steps, and has guards on both sides. NULL for an unknown group or a borrowed
 * table. */
GDN_API int32_t *gdn_builder_table(gdn_builder *b, int32_t group);

/* Use a table of the host instead: [rows, max_blocks_per_row], with row_stride (>= max_blocks_per_row) elements from
 * row to row. It must stay valid while builds read it. data NULL: the builder's own table again. Errors: GDN_EINVAL. */
GDN_API gdn_status gdn_builder_borrow_table(gdn_builder *b, int32_t group, GDN_NULL_OK const int32_t *data,
                                            int64_t row_stride, int32_t rows);

/* What a builder asked of its device so far. */
typedef struct gdn_counters {
    int64_t launches;      /* one per build that is not skipped, one more with check or poison, and one per gdn_check
                              and gdn_bring_* */
    int64_t ring_launches; /* of those: the step was too large to travel inside the launch */
    int64_t ring_waits;    /* of those: all buffers for such steps were in flight, so the build waited */
    int64_t reads;         /* calls of gdn_builder_read */
    int64_t skipped;       /* builds without a launch: the tensors already held the step, see gdn_build */
} gdn_counters;

GDN_API void gdn_builder_counters(const gdn_builder *b, gdn_counters *out);

/* ---- 3. Batch ---- */

/* The rows of one step, in the order in which the model sees them. A build never reorders or changes real rows, and
 * writes padding into rows num_rows .. padded_rows - 1. The arrays lie between guards, which each build checks
 * (GDN_EGUARD). */
typedef struct gdn_batch {
    int32_t *const query_len;           /* [max_rows] tokens scheduled this step */
    int32_t *const seq_len;             /* [max_rows] tokens computed before this step plus query_len */
    int32_t *const num_draft_tokens;    /* [max_rows] drafts among query_len; -1: not a speculative row */
    int32_t *const num_accepted_tokens; /* [max_rows] tokens the row's previous step emitted, 1 when that step
                                           drafted nothing */
    int32_t *const prompt_done;         /* [max_rows] 1 when the whole prompt was computed before this step */
    int32_t *const table_row;           /* [max_rows] row of the state tables; ~k: row k of `blocks` below */
    int32_t *const read_column;         /* [max_rows] absolute column holding the current state, -1: fresh, or
                                           GDN_READ_DEFAULT */
    int32_t *const blocks;              /* [num_groups, max_rows, max_blocks_per_row] table rows of the batch's own */
    int32_t *const checkpoint_len;      /* [max_rows] strict: the state after so many tokens of the row's sequence is
                                           kept as well, seq_len - query_len < it < seq_len; 0: none */
    int32_t *const checkpoint_slot;     /* [num_groups, max_rows] slot that it goes to; ignored without a checkpoint */
    int32_t *const seq_index;           /* [max_rows] the row's element of device seq_lens; -1: the row's number.
                                           NULL on the CPU */
    int32_t *const accepted_index;      /* [max_rows] likewise of device num_accepted_tokens; -2: the row's
                                           num_accepted_tokens above */
    int32_t num_rows;                   /* rows written; the host counts them up and sets 0 for the next step */
    int32_t padded_rows;                /* rows with padding, or 0: num_rows. Padding rows are made by the build */
    int32_t padded_tokens;              /* tokens with padding, or 0: the sum of query_len */
    int32_t indexed;                    /* 0: seq_index and accepted_index are ignored, as if all were -1 */
    const int32_t max_rows, max_blocks_per_row, num_groups;
} gdn_batch;

/* The default of read_column. Modes none and all: num_accepted_tokens - 1. Mode align without speculation: the column
 * of the last computed token. Rows with nothing computed: -1. In mode align with speculation it cannot be derived, and
 * strict refuses the row. */
enum { GDN_READ_DEFAULT = -2 };

/* An empty batch for b and no other builder. After GDN_EGUARD a batch can only be freed.
 * Errors: GDN_ENOMEM. */
GDN_API gdn_status gdn_batch_new(const gdn_builder *b, GDN_OWN gdn_batch **out);
GDN_API void gdn_batch_free(GDN_OWN GDN_NULL_OK gdn_batch *batch);

/* ---- 4. Build ---- */

/* Build the metadata of a batch: O(rows + output), no allocation, no system call, and nothing is written unless the
 * whole batch is accepted. `stream` is the CUDA stream to launch on, ignored on the CPU. On CUDA a build is one launch,
 * without a copy or a wait; work enqueued on the stream afterwards sees the tensors. Work that still reads the previous
 * step's tensors must be on the same stream, or done. A stream that is being captured is refused: graphs read the
 * tensors, builds happen outside them.
 * A build on CUDA launches nothing (gdn_counters.skipped) if the last one on that stream wrote the same tensors, all
 * inputs are on the host, and check and poison are off. So nothing but the builder may write the tensors.
 *
 * Legal batches (strict). Anything else is refused with row, field, value and expected range. Rows up to the last one
 * with tokens are real; those after it are padding. A step is speculative if S > 0 and some row has
 * num_draft_tokens >= 0, 0 drafts included. In any other step each row writes only the first block of its window.
 *   - a real row has query_len >= 1;
 *   - seq_len >= query_len;
 *   - num_draft_tokens is -1, or in 0 .. S;
 *   - a speculative row has query_len = num_draft_tokens + 1, prompt_done = 1 and seq_len > query_len;
 *   - num_accepted_tokens is in 1 .. S + 1;
 *   - prompt_done is 0 or 1;
 *   - rows are ordered: decodes (prompt done), short extends (query_len up to reorder_batch_threshold),
 *     long extends, first chunks (nothing computed: seq_len = query_len);
 *   - table_row is a row of every group's table, or ~k for row k of the batch's own blocks;
 *   - the window, S + 1 columns (`align`: 1 + num_speculative_blocks), ends within the table row;
 *   - read_column is -1 in a first chunk, else a column of the table row;
 *   - a written block is in 1 .. num_slots - 1;
 *   - a block of a speculative row after its drafts, which is not written, is in 0 .. num_slots - 1;
 *   - the block at read_column is in 1 .. num_slots - 1;
 *   - a written block is written once, and no other row of the group reads it; a block that no row writes may be read
 *     by several (check_unique = 0 skips this check, for hosts whose pool guarantees it);
 *   - checkpoint_len is 0, or in seq_len - query_len + 1 .. seq_len - 1 of a row that is not speculative, so that no
 *     decode has one, and without checkpoint_any a multiple of 64 tokens from the row's first one; seq_lens are on the
 *     host then;
 *   - its checkpoint_slot is in 1 .. num_slots - 1, and with check_unique neither written nor read by any row nor the
 *     slot of another checkpoint;
 *   - padding has seq_len 0, num_draft_tokens -1, and 0 in the first window of its table row.
 * The vLLM rule sets accept everything that vLLM accepts.
 * Errors: GDN_EINVAL, GDN_ECAP, GDN_EGUARD, GDN_EDEVICE. */
GDN_API gdn_status gdn_build(gdn_builder *b, gdn_batch *batch, GDN_NULL_OK void *stream);

/* ---- 5. Metadata ---- */

/* An output array. The address of a field is fixed for the builder's life, so that captured graphs may read it; its
 * contents are valid until the builder's next build. */
typedef struct gdn_tensor {
    void *data;       /* NULL: this step has no such tensor. Device memory on a CUDA builder */
    int32_t shape[2]; /* shape[1] is 1 for a vector */
    int32_t dtype;    /* GDN_INT32, ... */
    int32_t ndim;     /* 1 or 2 */
} gdn_tensor;

/* One step, described. Rows of a speculative step are split in two: spec rows (num_draft_tokens
 * >= 0) and non-spec rows; in any other step all rows are non-spec rows. n is the length of the
 * named class, b the padded size of a step for a captured graph (full_cuda_graph, no prefills), else n.
 * Tensors marked * exist once per cache group: those here are group 0's, see gdn_metadata_group.
 *
 * pad_slot_id is the index that tells a kernel to skip a row: 0 or -1. State and read indices have it for padding, for
 * rows without tokens whose block is the null slot, for every row of a strict capture, and in place of a bad value
 * found on the device. A fresh row reads 0 in either case. So with pad_slot_id = -1 a kernel can tell the two apart: it
 * skips -1, and reads slot 0 for a fresh row. No row writes slot 0: keep zeros there.
 *
 * With full_cuda_graph, no buffer of state or read indices holds slots of an earlier step, neither after a tensor nor
 * in place of an absent one: a graph that is replayed out of turn finds slots of the last build, pad_slot_id, or 0 on a
 * new CPU builder. (With poison it finds 0xA5.) */
typedef struct gdn_metadata {
    int64_t step;                  /* successful builds so far; a view of another step is stale */
    int32_t num_prefills;          /* rows from the first one with more than one token, or (strict) with nothing
                                      computed; in a speculative step: non-spec rows with tokens */
    int32_t num_prefill_tokens;
    int32_t num_decodes;           /* 0 in every speculative step, except in buckets: plain decodes count as prefills
                                      there */
    int32_t num_decode_tokens;
    int32_t num_spec_decodes;
    int32_t num_spec_decode_tokens;
    int32_t num_actual_tokens;     /* tokens with padding */
    int32_t num_rows;              /* num_reqs: rows with padding, as the batch or the raw caller counts them */
    int32_t num_tiles;             /* conv1d tiles of batch_ptr, nums_dict's `tot`; 0 without prefills. In a bucket:
                                      those that a launch covers */
    int32_t uniform_spec_sequence_length; /* tokens of every speculative row; 0: they differ, or there is none */
    int32_t checkpoint_every_n_tokens;    /* see the checkpoint_* below; 0: no plan */
    int32_t num_checkpoints;

    /* Every row: where its tokens and its state are. */
    gdn_tensor spec_query_start_loc;          /* int32 or int64 [b + 1] boundaries within the spec tokens */
    gdn_tensor non_spec_query_start_loc;      /* likewise of the non-spec tokens */
    gdn_tensor spec_state_indices_tensor;     /* int32 [b, S + 1] * slot of the state after each token; pad_slot_id
                                                 on padding */
    gdn_tensor non_spec_state_indices_tensor; /* int32 [b] * slot to write; pad_slot_id on padding */
    gdn_tensor spec_sequence_masks;           /* bool [rows, or b] is this row speculative */
    gdn_tensor spec_token_indx;               /* int32 (pure) or int64 (mixed) [tokens] positions of spec tokens in
                                                 the batch */
    gdn_tensor non_spec_token_indx;           /* likewise of non-spec tokens; both absent in a step without drafts */
    gdn_tensor num_accepted_tokens;           /* int32 [b] of spec rows; 1 on padding */

    /* Steps with prefills: kernels' launch tables. n counts the non-spec rows. */
    gdn_tensor has_initial_state;      /* bool [n] something was computed before this step */
    gdn_tensor chunk_indices;          /* int32 [chunks, 2] (row, chunk of the row), chunks of 64 tokens */
    gdn_tensor chunk_offsets;          /* int64 [rows + 1] first chunk of each row */
    gdn_tensor batch_ptr;              /* int32 [2 * max(1024, tiles)] row of each conv1d tile of 8 tokens, then -1 */
    gdn_tensor token_chunk_offset_ptr; /* int32, same length: tile of the row, then -1 */

    /* The prefills alone, without the decodes in front of them. Chunk tables number these rows
     * (vllm-2026-04: all non-spec rows). */
    gdn_tensor prefill_query_start_loc;   /* int32 or int64 [prefills + 1] */
    gdn_tensor prefill_state_indices;     /* int32 [prefills] * */
    gdn_tensor prefill_has_initial_state; /* bool [prefills] */

    /* Rules strict: a state is read here and written at the *_state_indices above. */
    gdn_tensor spec_read_state_indices;     /* int32 [b] * slot to read; 0: start from zeros; pad_slot_id on padding */
    gdn_tensor non_spec_read_state_indices; /* int32 [b] * */
    gdn_tensor prefill_read_state_indices;  /* int32 [prefills] * */
    gdn_tensor spec_conv_shift;             /* int32 [b] tokens to advance in the conv window: accepted - 1; 0
                                               where fresh */
    gdn_tensor non_spec_conv_shift;         /* int32 [b] */

    /* States that prefills keep at a position before their end, in steps where some row does. Rules strict: as
     * checkpoint_len asks, and n counts the rows of prefill_*. Rules vllm-2026-11, mode align: n counts the rows of the
     * request, padded ones too; in a speculative step the non-spec rows. */
    gdn_tensor checkpoint_offsets;       /* int32 [n] tokens of the row in front of it; 0: the row keeps none */
    gdn_tensor checkpoint_state_indices; /* int32 [n] * slot to write it to; pad_slot_id where there is none */
    gdn_tensor checkpoint_chunk;         /* int32 [n] strict, where chunk_offsets are: chunk that the state enters, a
                                            row of the states that chunked kernels keep, chunk_offsets[row] + offset /
                                            64; -1 without checkpoint, or where it stands within a chunk */
    /* flashinfer's plan, where prefill_checkpoint_alignment (strict: each offset) is a multiple of 64. Its kernel keeps
     * a state every checkpoint_every_n_tokens tokens of each prefill, num_checkpoints in all. */
    gdn_tensor checkpoint_cu_starts;     /* int64 [prefills + 1] states kept of the prefills in front */
    gdn_tensor checkpoint_rows;          /* int64 [n] which of them is the row's; 0 where there is none */

    /* GDN_GRAPH_MIXED: the decodes alone, and what a graph may ask of a step, see gdn_bucket. */
    gdn_tensor decode_query_start_loc;    /* int32 or int64 [R + 1] */
    gdn_tensor decode_state_indices;      /* int32 [R] * */
    gdn_tensor decode_read_state_indices; /* int32 [R] * */
    gdn_tensor token_class;               /* uint8 [T] GDN_TOKEN_* of each token of the batch */
    gdn_tensor live_counts;               /* int32 [8] num_prefills .. num_actual_tokens as above, then the rows
                                             without padding */
} gdn_metadata;

/* The last successful build; the address never changes. */
GDN_API const gdn_metadata *gdn_builder_metadata(const gdn_builder *b);

/* The same step as cache group `group` sees it: *out differs from the metadata in the tensors
 * marked * only. Errors: GDN_EINVAL for an unknown group. */
GDN_API gdn_status gdn_metadata_group(const gdn_builder *b, int32_t group, gdn_metadata *out);

/* GDN_GRAPH_MIXED. A bucket is (R rows, T tokens): padded_rows and padded_tokens of a batch, or if they are 0 its rows
 * and tokens. Shape and address of each tensor follow from the bucket alone, so one captured graph serves every step of
 * it, whatever speculative rows, decodes and prefills are in it:
 *
 *   spec_query_start_loc                             [R + 1]    then the last boundary
 *   spec_state_indices_tensor                        [R, S + 1] then pad_slot_id
 *   spec_read_state_indices                          [R]        then pad_slot_id
 *   num_accepted_tokens, spec_conv_shift             [R]        then 1; then 0
 *   spec_token_indx, non_spec_token_indx             [T] int64  then T, one past the last token
 *   non_spec_query_start_loc                         [R + 2]    then the last boundary
 *   non_spec_state_indices_tensor, *_read_*          [R + 1]    then pad_slot_id
 *   non_spec_conv_shift, has_initial_state           [R + 1]    then 0
 *   decode_query_start_loc                           [R + 1]    then the last boundary
 *   decode_state_indices, decode_read_state_indices  [R]        then pad_slot_id
 *   prefill_query_start_loc                          [R + 2]    boundaries within the non-spec tokens: the first is
 *                                                               the decodes' end; then the last boundary
 *   prefill_state_indices, prefill_read_*            [R + 1]    then pad_slot_id
 *   prefill_has_initial_state                        [R + 1]    then 0
 *   chunk_indices                                    [ceil(T / 64) + R, 2] then (R, 0)
 *   chunk_offsets                                    [R + 2]    then the last value
 *   checkpoint_offsets                               [R + 1]    0 where there is none, and then
 *   checkpoint_state_indices                         [R + 1]    pad_slot_id likewise
 *   checkpoint_chunk                                 [R + 1]    -1 likewise
 *   batch_ptr, token_chunk_offset_ptr                [2 * max(1024, num_tiles)] then -1
 *   token_class                                      [T]        then GDN_TOKEN_PADDING
 *   live_counts                                      [8]
 *
 * Row R of the arrays of non-spec rows and of prefills is always empty: padding names it. num_tiles is
 * ceil(T / 8) + R, which a launch covers. Without speculation (S = 0) there are neither spec_* tensors nor lists of
 * tokens: the non-spec tokens are the batch. There is no spec_sequence_masks, and no plan of checkpoints, because its
 * length depends on the step. Decodes are the non-spec rows before the first prefill, in speculative steps too.
 * gdn_build_raw and gdn_capture cannot build such steps. */
enum { GDN_TOKEN_PADDING = 0, GDN_TOKEN_SPEC = 1, GDN_TOKEN_DECODE = 2, GDN_TOKEN_PREFILL = 3 };

/* Shapes of a bucket, without a builder: sets shape, dtype and ndim of *out's tensors. data is NULL; ndim is 0 for a
 * tensor that does not exist. num_rows, num_actual_tokens and num_tiles are the bucket's, the other numbers 0.
 * Errors: GDN_EINVAL, GDN_ECAP if a builder of that configuration is too small; *out is then untouched. */
GDN_API gdn_status gdn_bucket(const gdn_config *config, int32_t rows, int32_t tokens, gdn_metadata *out,
                              GDN_NULL_OK char *why, size_t why_size);

/* Build a bucket's step without rows: every slot is pad_slot_id, whatever the tables hold. It is for capturing and
 * warming up a graph, and for ranks without work. Errors: GDN_EINVAL, GDN_ECAP, GDN_EDEVICE. */
GDN_API gdn_status gdn_capture_bucket(gdn_builder *b, int32_t rows, int32_t tokens, GDN_NULL_OK void *stream);

/* ---- 6. Reading and export ---- */

/* Copy `bytes` to the host, from anywhere within one of the metadata's tensors. Waits for the build on its stream,
 * which must still exist. Errors: GDN_EINVAL, GDN_EDEVICE. */
GDN_API gdn_status gdn_builder_read(gdn_builder *b, void *to, const void *from, size_t bytes);

/* Tensors for other libraries, without a copy, by the DLPack protocol, version 1. The structs have DLPack's layout but
 * other names, so that its header can be included as well: a gdn_dlpack * is a DLManagedTensorVersioned *, a
 * gdn_dlpack_unversioned * a DLManagedTensor *. */

enum { GDN_DL_CPU = 1, GDN_DL_CUDA = 2 };        /* device_type */
enum { GDN_DL_INT = 0, GDN_DL_UINT = 1, GDN_DL_BOOL = 6 }; /* code; bits is then 32 or 64, 8, and 8 */
enum { GDN_DL_MAJOR = 1, GDN_DL_MINOR = 0, GDN_DL_READ_ONLY = 1 }; /* version; a bit of flags */

typedef struct gdn_dl_tensor {
    void *data;           /* on the device */
    int32_t device_type;  /* GDN_DL_CPU or GDN_DL_CUDA */
    int32_t device_id;    /* 0, or the CUDA ordinal */
    int32_t ndim;         /* 1 or 2 */
    uint8_t code, bits;   /* of an element: GDN_DL_INT or GDN_DL_BOOL, and its size */
    uint16_t lanes;       /* 1 */
    int64_t *shape;       /* [ndim] */
    int64_t *strides;     /* [ndim] elements from one to the next */
    uint64_t byte_offset; /* 0 */
} gdn_dl_tensor;

typedef struct gdn_dlpack {
    uint32_t major, minor;
    void *manager_ctx;
    void (*deleter)(struct gdn_dlpack *self); /* to be called once, from any thread; the last use of the tensor */
    uint64_t flags;                           /* GDN_DL_READ_ONLY */
    gdn_dl_tensor dl_tensor;
} gdn_dlpack;

/* For consumers of the protocol before versions, which has no flags. It is read-only as well. */
typedef struct gdn_dlpack_unversioned {
    gdn_dl_tensor dl_tensor;
    void *manager_ctx;
    void (*deleter)(struct gdn_dlpack_unversioned *self);
} gdn_dlpack_unversioned;

/* Export a tensor of b's metadata, of any group. It is a view of the same memory: the next build overwrites it, and a
 * reader on another stream must itself wait for the build. The memory, and on CUDA its context, live until the builder
 * is freed and every export is deleted, in any order. (If the context was the caller's when the builder was made, the
 * caller must keep it as long.) Consumers must not write: builds rely on padding that is already in place.
 * Errors: GDN_EINVAL if `tensor` is not one of b, GDN_ENOMEM. */
GDN_API gdn_status gdn_tensor_export(gdn_builder *b, const gdn_tensor *tensor, GDN_OWN gdn_dlpack **out);
GDN_API gdn_status gdn_tensor_export_unversioned(gdn_builder *b, const gdn_tensor *tensor,
                                                 GDN_OWN gdn_dlpack_unversioned **out);

/* ---- 7. Inputs on the device ---- */

/* Inputs that an asynchronous engine keeps on the device, for CUDA builders; each may be used alone. A build reads them
 * on its stream instead of the host's arrays of that name. So their writer must have been enqueued on that stream
 * before, and they must stay valid and unchanged until the build's launch is done. The host's arrays are copied by the
 * call and may be reused at once.
 *
 * Sizes and classes come from the host: query_len, num_draft_tokens, and read_column = -1 for a row with nothing
 * computed yet (all others count as computed). The device checks the values that only it can see: gdn_device_error.
 * Two rows that write the same block of a device table are not detected.
 * memory NULL: the host's arrays again. Errors: GDN_EINVAL for memory of the host or of another device. */

/* A table as in gdn_builder_borrow_table. Meanwhile a batch's own rows (~k) are refused. */
GDN_API gdn_status gdn_builder_borrow_device_table(gdn_builder *b, int32_t group, GDN_NULL_OK const int32_t *memory,
                                                   int64_t row_stride, int32_t rows);
/* seq_len [n] in any order, see seq_index. Mode align then requires all tables on the device as well. */
GDN_API gdn_status gdn_builder_borrow_device_seq_lens(gdn_builder *b, GDN_NULL_OK const int32_t *memory, int32_t n);
/* num_accepted_tokens [n], see accepted_index. Not for gdn_capture, which makes them itself. */
GDN_API gdn_status gdn_builder_borrow_device_accepted(gdn_builder *b, GDN_NULL_OK const int32_t *memory, int32_t n);

/* Did a finished build find a bad value in its device inputs? (It used pad_slot_id in place of a bad slot.) GDN_OK: no.
 * GDN_EINVAL: yes, and gdn_last_error has the reason; the error stays until a call with forget = 1. GDN_EDEVICE: in a
 * child of the builder's process. */
GDN_API gdn_status gdn_device_error(gdn_builder *b, int32_t forget);

/* ---- 8. vLLM's arguments, and captures ---- */

/* The arguments of vLLM's builder, for hosts that already have them. Array lengths are given so that a wrong one is
 * refused and nothing is read past the end. */
typedef struct gdn_raw {
    uint32_t size;                           /* sizeof(gdn_raw) as the caller compiled it */
    int32_t num_reqs;                        /* rows, padding included, as the runner counts them */
    int32_t num_actual_tokens;               /* tokens, padding included */
    int32_t max_query_len;                   /* trusted: <= 1 makes every row a decode (not under strict) */
    const int32_t *query_start_loc;          /* [num_query_start_loc] */
    const int32_t *seq_lens;                 /* [num_seq_lens] */
    const int32_t *const *block_tables;      /* [num_groups] -> [block_table_rows, block_table_stride] */
    const int32_t *num_accepted_tokens;      /* [num_num_accepted_tokens] or NULL */
    const int32_t *num_decode_draft_tokens;  /* [num_num_decode_draft_tokens] or NULL; -1: none */
    const int32_t *prompt_done;              /* [rows] or NULL: rows that could be decodes are */
    const int32_t *read_column;              /* [rows] or NULL: GDN_READ_DEFAULT */
    const int32_t *seq_index, *accepted_index; /* [rows] or NULL, as in a batch, but for -2; on the device their
                                                arrays, and tables, need not be given here */
    int64_t block_table_stride;              /* elements from row to row */
    int32_t block_table_rows, block_table_cols;
    int32_t num_query_start_loc;             /* rows + 1 */
    int32_t num_seq_lens;
    int32_t num_num_accepted_tokens;
    int32_t num_num_decode_draft_tokens;
} gdn_raw;

/* As gdn_build, under the builder's rules. Errors: GDN_EINVAL, GDN_ECAP, GDN_EDEVICE. */
GDN_API gdn_status gdn_build_raw(gdn_builder *b, const gdn_raw *raw, GDN_NULL_OK void *stream);

/* Build the step that a CUDA graph is captured with. num_reqs and num_actual_tokens are at most CAP; drafts and
 * accepted counts follow from the query lengths. Under strict all query lengths are 1, or all S + 1, and every slot is
 * pad_slot_id; seq_lens and block_tables may then be NULL. Rows of one token are decodes, or with
 * num_decode_draft_tokens of 0 speculative rows without drafts.
 * Errors: GDN_EINVAL, GDN_ECAP, GDN_EDEVICE. */
GDN_API gdn_status gdn_capture(gdn_builder *b, const gdn_raw *raw, GDN_NULL_OK void *stream);

/* ---- 9. Verification ---- */

/* A check verifies every invariant that can be seen in the outputs, on the device that wrote them, in one launch after
 * the fill's. The expected values follow from the outputs and the metadata's scalars alone. */
enum {
    GDN_CHECK_SHAPE = 1,     /* a tensor is missing, or not as long as the counts say */
    GDN_CHECK_BOUNDARY = 2,  /* *_query_start_loc: from 0, never falling, rows of lengths that their class has, up
                                to its tokens */
    GDN_CHECK_PADDING = 3,   /* pad_slot_id, the last boundary, accepted 1, mask 0, shift 0; the table at gdn_bucket */
    GDN_CHECK_TOKENS = 4,    /* *_token_indx: rising, together every token once, each in its row */
    GDN_CHECK_MASK = 5,      /* as many ones as speculative rows, where the boundaries have them */
    GDN_CHECK_SLOT = 6,      /* strict: within the pool, and not null where a state is written or read */
    GDN_CHECK_SHARED = 7,    /* strict, with check_unique: written by one row, which alone may read it */
    GDN_CHECK_ACCEPTED = 8,  /* strict: 1 .. S + 1 */
    GDN_CHECK_INITIAL = 9,   /* 0 or 1; strict: 1 where a state is read, and for every decode */
    GDN_CHECK_CHUNKS = 10,   /* chunk_indices and chunk_offsets follow from the boundaries */
    GDN_CHECK_TILES = 11,    /* batch_ptr and token_chunk_offset_ptr likewise, then -1 */
    GDN_CHECK_TAIL = 12,     /* prefill_* are the non_spec_* after the decodes, decode_* those before the prefills */
    GDN_CHECK_SHIFT = 13,    /* strict: *_conv_shift are accepted - 1, and 0 where nothing is read */
    GDN_CHECK_REFUSED = 14,  /* the device did not run the check */
    GDN_CHECK_CHECKPOINT = 15, /* checkpoint_*: within their rows, slots for those alone, a plan that follows */
    GDN_CHECK_CLASS = 16,    /* token_class: by the boundaries, or the lists of tokens */
    GDN_CHECK_LIVE = 17      /* live_counts: the step's */
};

typedef struct gdn_violation {
    int64_t step;
    const char *field;               /* name of the tensor; static */
    int32_t code;                    /* GDN_CHECK_* */
    int32_t group, element, reserved;
} gdn_violation;

/* The first violation that finished checks have found. Never blocks: on a GPU a result arrives one step later.
 * GDN_OK: none. GDN_EINVAL: gdn_last_error has the message, *out the facts; it stays until a call with forget = 1.
 * It is of the first step that has a violation, and in that step the first in the order of gdn_metadata. If two rows
 * share a slot, either may be named. A value that the device replaced (gdn_device_error) counts as a violation, too.
 *
 * Not detectable, because the result is also a valid step:
 *   - a boundary moved between its two rows, if no count of tiles or chunks and no copy of it changes;
 *   - a slot replaced by another that no other row uses; a slot that is only read, or stands after a row's drafts, by
 *     another that no other row writes (without check_unique: by any slot of the pool);
 *   - another non_spec_conv_shift in 0 .. S on a row with a state.
 * In a bucket only the last of these: boundaries and slots of non-spec rows have copies there.
 * Under the vLLM rule sets also:
 *   - slots, accepted counts, and has_initial_state of either value;
 *   - the end of a batch whose prefills have no decodes before them, or that has no prefills;
 *   - the last boundary, if num_reqs truncates the arrays; the mask of a row without tokens in a padded step;
 *   - without a plan, a checkpoint moved within its row, or in a row that keeps none.
 * Under strict also a checkpoint moved within its row, if neither checkpoint_chunk nor a plan says where it is. */
GDN_API gdn_status gdn_check_result(gdn_builder *b, int32_t forget, GDN_NULL_OK gdn_violation *out);

/* Check the last build's outputs again, after the work that is enqueued on `stream`.
 * Errors: GDN_EINVAL if the builder was made without check or has built nothing, or the stream is being captured;
 * GDN_EDEVICE. */
GDN_API gdn_status gdn_check(gdn_builder *b, GDN_NULL_OK void *stream);

/* ---- 10. States for kernels that read where they write ---- */

/* Under strict a row's state is read at its read index, and its conv window *_conv_shift tokens into the slot. Kernels
 * that know neither read the slot that they write. That is wrong after a speculative step, when an `align` window
 * moves, and for a shared state. These calls copy states and windows to where such kernels look, before the kernels
 * run: on `stream`, after the build, in one launch (on the CPU, before the call returns). They do not wait, allocate,
 * or copy through the driver.
 *
 * The device reads the step's index tensors, so a launch may be captured in a graph: replayed after another build, it
 * serves that build's step. It looks at as many rows as the tensors had when it was captured, so the steps that it
 * serves must have as many (steps padded to one size do). It writes only slots that the step's rows write, and only
 * for rows that need it. These are, with
 *     R  the row's read index, W  the first slot that it writes: non_spec_state_indices_tensor[row] or
 *     spec_state_indices_tensor[row, 0], h  its conv shift, a  num_accepted_tokens[row]:
 *
 *   row                         state                               window
 *   non-spec (GDN_BRING_FIRST:  R to W, unless R = W                h = 0: R to W, whole, unless R = W
 *     speculative ones too)                                         h > 0: tokens h .. length - 1 of V to W's
 *                                                                          0 .. length - 1 - h; the last h stay
 *   speculative,                R to A, unless R = A; A is its      R to W, whole and not shifted (the kernel does
 *     GDN_BRING_ACCEPTED          slot a - 1, if the row writes it  that), unless R = A or R = W
 *   any with R or the target    nothing                             nothing
 *     null or outside the pool (padding, fresh rows, captures)
 *
 * V is where the last step left the window. GDN_WINDOWS_IN_FIRST: in the first slot that it wrote, as vLLM's conv
 * kernels do, so V = W. This is right if a row's table keeps its columns, and requires h = 0 for a state that comes
 * from elsewhere. GDN_WINDOWS_IN_EVERY: in each slot that it wrote, as gdnmeta's reference layer does, so V = R. Mode
 * align needs it when windows move. The default is IN_EVERY in mode align, IN_FIRST in the others.
 *
 * GDN_BRING_ACCEPTED is for kernels that start a speculative row from column a - 1 of its slots, as vLLM's do. Where
 * an `align` window moved and a row has fewer tokens than a, it does not write that slot: its window is brought, its
 * state is not. Use GDN_BRING_FIRST there, and pass the kernels accepted counts of 1. GDN_BRING_LEAVE is for kernels of
 * speculative rows that follow the read indices.
 *
 * Several rows may read one slot. No row may write a slot that another row reads or writes: strict refuses such a step
 * unless check_unique is 0; then the host's pool must guarantee it. */
enum { GDN_BRING_ACCEPTED = 0, GDN_BRING_FIRST = 1, GDN_BRING_LEAVE = 2 };
enum { GDN_WINDOWS_BY_MODE = 0, GDN_WINDOWS_IN_FIRST = 1, GDN_WINDOWS_IN_EVERY = 2 };
enum { GDN_MAX_POOLS = 64 }; /* of one call */

/* Pools of recurrent states, alike and of one cache group: those of its layers, or some of them. */
typedef struct gdn_state_pools {
    uint32_t size;       /* sizeof(gdn_state_pools) as the caller compiled it */
    int32_t group;
    int32_t spec_rows;   /* GDN_BRING_* */
    int32_t num_pools;   /* 1 .. GDN_MAX_POOLS */
    void *const *pools;  /* [num_pools] of num_slots slots each, of the builder's device; none overlaps another */
    int64_t slot_bytes;  /* 1 .. 64 MiB; any type of state */
    int64_t slot_stride; /* bytes from a slot to the next, >= slot_bytes; 0: slot_bytes */
} gdn_state_pools;

/* Pools of conv windows: `channels` channels of `length` tokens a slot, in any order. */
typedef struct gdn_window_pools {
    uint32_t size;          /* sizeof(gdn_window_pools) as the caller compiled it */
    int32_t group;
    int32_t spec_rows;      /* GDN_BRING_* */
    int32_t windows_in;     /* GDN_WINDOWS_* */
    int32_t num_pools;
    int32_t channels;       /* 1 .. 2^24 */
    int32_t length;         /* tokens kept of a channel, S + 1 .. 1024; taps - 1 + S for steps with drafts */
    int32_t element_bytes;  /* 1, 2, 4 or 8; a slot has 64 MiB at most */
    void *const *pools;     /* aligned to element_bytes */
    int64_t strides[3];     /* elements from a slot, a channel, a token to the next, 1 .. 2^40;
                               all 0: [num_slots, channels, length] without gaps */
} gdn_window_pools;

/* Errors, with nothing written: GDN_EINVAL for values outside the ranges above, rules other than strict, a builder that
 * has built nothing, pools that overlap each other, themselves or the builder's tensors, and memory that is not the
 * device's or ends before the last slot (on the CPU: memory of a CUDA device, if a driver is loaded); GDN_EDEVICE. */
GDN_API gdn_status gdn_bring_states(gdn_builder *b, const gdn_state_pools *states, GDN_NULL_OK void *stream);
GDN_API gdn_status gdn_bring_windows(gdn_builder *b, const gdn_window_pools *windows, GDN_NULL_OK void *stream);

/* ---- 11. Reordering rows ---- */

/* Put a host's rows into the order that gdn_build requires, with the fewest moves. Rows are grouped: 0 decode, 1 short
 * extend, 2 long extend, 3 first chunk. order[i] becomes the old row at place i; swaps[2k] and swaps[2k + 1] are the
 * k-th pair of rows to exchange, for the host's own arrays. work is scratch memory, [3 * n].
 * Returns the number of swaps (0: the order was right), or GDN_EINVAL for a negative n. */
GDN_API int32_t gdn_reorder(int32_t n, int32_t decode_threshold, const int32_t *num_scheduled,
                            const int32_t *num_computed, const int32_t *num_prompt, int32_t *order,
                            int32_t *swaps, int32_t *work);

#if !defined(GDNMETA_CDEF) && defined(__cplusplus)
}
#endif
#endif
