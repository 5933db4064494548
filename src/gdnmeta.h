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
 *   - gdn_status 0 is success, negative is failure; on failure nothing the caller can see has
 *     changed, and where a builder is an argument that is not const, gdn_last_error names the
 *     offending element, its value and the wanted range;
 *   - GDN_OWN results are released by the named *_free; everything else is borrowed;
 *   - lengths are in tokens, positions are token indices, slots are rows of a state pool, and
 *     slot 0 is the null slot: kernels neither read nor write it;
 *   - a pointer may be NULL where it is marked GDN_NULL_OK. Any other one that is NULL is refused with GDN_EINVAL; a
 *     function that gives no status then does nothing, or says what it says of something unknown: NULL, 0, -1,
 *     infinity. *_free(NULL) does nothing. A `stream` of NULL is the default stream. What is not NULL is believed;
 *   - shapes stand next to the field, [outer, inner], row-major and contiguous;
 *   - one thread at a time per builder and its batches; different builders are independent. A library compiled
 *     with -DGDN_DEBUG refuses a builder that another thread is in the middle of using (GDN_EINVAL);
 *   - a fork copies what is on the CPU, to be used and freed on either side. A CUDA builder stays with the process
 *     that made it: in a child, calls that reach the device are refused (GDN_EDEVICE), and gdn_builder_free frees
 *     the host's memory only. Processes that use CUDA builders make them after the fork.
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
#define GDN_OWN     /* marks a transfer of ownership, for readers only */
#define GDN_NULL_OK /* marks a pointer that may be NULL; any other one may not */

/* The version of this header. Nothing else states it: the build, the Lua modules and the packages read it here. */
#define GDN_VERSION_MAJOR 0
#define GDN_VERSION_MINOR 2
#define GDN_VERSION_PATCH 0
#define GDN_VERSION (GDN_VERSION_MAJOR * 10000 + GDN_VERSION_MINOR * 100 + GDN_VERSION_PATCH) /* for #if */

/* Changes with any layout or signature, of which the second number is a hash: spec/core/abi_spec.lua says when they
 * no longer fit. gdn_abi() tells the library's. */
enum { GDN_ABI = 6 }; /* eef1b548bb51116b */

/* ---- 1. Status ---- */

/* A plain number, so that a status costs a script no garbage. */
typedef int32_t gdn_status;
enum {
    GDN_OK = 0,
    GDN_EINVAL = -1, /* an argument or a row is outside its documented domain */
    GDN_ENOMEM = -2, /* construction found no memory */
    GDN_ECAP = -3,   /* the step is larger than the builder was made for */
    GDN_EGUARD = -4, /* something wrote outside a batch's or state table's memory */
    GDN_EDEVICE = -5 /* the device or its driver refused; the message quotes it */
};

GDN_API int32_t gdn_abi(void);
GDN_API const char *gdn_version(void); /* "<major>.<minor>.<patch>" of the library; GDN_VERSION is the header's */
GDN_API const char *gdn_strstatus(int32_t status); /* static, never NULL */

/* ---- 2. Configuration, and a builder made for it ---- */

/* Which batches are legal and what the odd ones mean. The vLLM rule sets reproduce
 * that version's builder value by value, quirks and refusals included. */
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
    GDN_CACHE_ALL = 2    /* one column a block, all kept; read like NONE (vllm-2026-11: like ALIGN) */
};

/* 0, 1, ...: that CUDA device. AUTO: that of the current CUDA context, else the first; the CPU where there is
 * no driver, no device, or no kernel in the library. A context that is current when a builder is made is used
 * by it and must outlive it and its exports; otherwise the builder holds the device's primary context. */
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
    int32_t mamba_block_size;           /* tokens a block, >= 1 */
    int32_t num_speculative_blocks;     /* >= 0; `align`: extra columns of the window */
    int32_t num_groups;                 /* 1 .. 64 cache groups served by one build */
    int32_t max_requests;               /* rows of each state table; 0: max_rows */
    int32_t max_blocks_per_row;         /* columns of each state table; 0: S + 1 (`align`: 1 +
                                           num_speculative_blocks if larger) */
    int32_t parallel_drafting;          /* 0 or 1 */
    int32_t decode_context_parallel_size; /* >= 1; 0 means 1 */
    int32_t check_unique;               /* 0 or 1: strict looks for a slot that one row writes and another uses */
    int32_t pad_slot_id;                /* 0 or -1: what stands for "no row" in the state indices, see gdn_metadata */
    int32_t query_start_loc_dtype;      /* GDN_INT32 or GDN_INT64: elements of the three *query_start_loc */
    int32_t check;                      /* 0 or 1: each build checks its outputs where they are, see gdn_check_result */
    int32_t poison;                     /* 0 or 1: each build then fills with 0xA5 what its tensors leave of their
                                           buffers */
    int32_t gdn_prefill_backend;          /* GDN_PREFILL_*; strict and vllm-2026-11. flashinfer has no chunk tables, but
                                             in buckets, where this changes nothing */
    /* Rules vllm-2026-11 alone; under others each must be what gdn_config_init sets, 0. */
    int32_t num_prefill_checkpoint_blocks; /* 0: prefills keep no state before their end */
    int32_t prefill_checkpoint_alignment; /* tokens; 0: not given, and no row has a checkpoint */
    int32_t hash_block_size;              /* tokens; 0: not given, no checkpoints */
    int32_t cache_hit_alignment_tokens;   /* tokens; 0: not given, no checkpoints */
    int32_t num_hash_lookahead_tokens;    /* tokens, >= 0 */
    int32_t drop_eagle_block;             /* 0 or 1; counts only with S > 0 and without lookahead */
    int32_t checkpoint_any;               /* 0 or 1, strict alone: checkpoints may stand within a chunk of 64 tokens */
} gdn_config;

/* The defaults: strict on the CPU, 256 requests, 8,192 tokens, one group, no speculation, no graphs, slots
 * checked for being unique. A host starts from these and sets what it wants; zeros alone are no configuration. */
GDN_API void gdn_config_init(gdn_config *config);

typedef struct gdn_builder gdn_builder;

/* Facts derived from a configuration; constant for the builder's life. */
typedef struct gdn_builder_info {
    int64_t bytes;                   /* what the builder allocated: as gdn_builder_bytes told before */
    int32_t decode_cudagraph_max_bs; /* CAP */
    int32_t num_spec;                /* S */
    int32_t reorder_batch_threshold; /* query lengths up to this may stand among the decodes */
    int32_t max_rows, max_num_batched_tokens, max_requests, max_blocks_per_row, num_groups;
    int32_t device;                  /* GDN_DEVICE_CPU or the CUDA ordinal */
    int32_t rules;
} gdn_builder_info;

/* Make a builder. Everything a step needs is allocated here, for the largest step the
 * configuration allows. On failure *out is untouched and the reason stands in why[why_size]
 *. Errors: GDN_EINVAL, GDN_ENOMEM, GDN_EDEVICE. */
GDN_API gdn_status gdn_builder_new(const gdn_config *config, GDN_OWN gdn_builder **out, GDN_NULL_OK char *why,
                                   size_t why_size);
GDN_API void gdn_builder_free(GDN_OWN GDN_NULL_OK gdn_builder *b); /* batches and exports outlive it harmlessly */
GDN_API void gdn_builder_describe(const gdn_builder *b, gdn_builder_info *out);

/* How many bytes a builder's allocations will come to, on the host and the device together, without those of a
 * driver. AUTO is counted as CUDA, which takes more than the CPU. On the CPU, pages that nothing writes cost no
 * memory, whatever the sizes: of tables and outputs a builder uses what its steps use. A batch takes another
 * 4 * max_rows * (8 + num_groups * (1 + max_blocks_per_row)) bytes; 10 instead of 8 on CUDA.
 * Errors: GDN_EINVAL, where gdn_builder_new would give it; *out is then untouched. */
GDN_API gdn_status gdn_builder_bytes(const gdn_config *config, int64_t *out, GDN_NULL_OK char *why, size_t why_size);

/* Why a call on b failed, the last time one did; borrowed until the next call on b; never NULL. */
GDN_API const char *gdn_last_error(const gdn_builder *b);

/* The state table of a cache group: int32 [max_requests, max_blocks_per_row], zero at first, kept
 * between steps, written by the host, guarded on both sides. NULL for an unknown group or a
 * borrowed table. */
GDN_API int32_t *gdn_builder_table(gdn_builder *b, int32_t group);

/* Use the host's own table instead: rows x max_blocks_per_row, `row_stride` elements from row to
 * row (>= max_blocks_per_row). It must stay valid while builds read it. data NULL: back to the
 * builder's own table. Errors: GDN_EINVAL. */
GDN_API gdn_status gdn_builder_borrow_table(gdn_builder *b, int32_t group, GDN_NULL_OK const int32_t *data,
                                            int64_t row_stride, int32_t rows);

/* What a builder asked of its device, so far. */
typedef struct gdn_counters {
    int64_t launches;      /* one a build that is not skipped; with check or poison one more, and one a gdn_check or
                              gdn_bring_* */
    int64_t ring_launches; /* of those: the step was too large to travel inside the launch */
    int64_t ring_waits;    /* of those: all buffers for such steps were in flight, so the build waited */
    int64_t reads;         /* gdn_builder_read */
    int64_t skipped;       /* builds without a launch: the tensors held the step, see gdn_build */
} gdn_counters;

GDN_API void gdn_builder_counters(const gdn_builder *b, gdn_counters *out);

/* ---- 3. Batch ---- */

/* The rows of one step, in the order the model sees them; a build never reorders or changes real
 * rows, and writes padding into those from num_rows to padded_rows. The arrays are C memory between guards
 * that each build checks (GDN_EGUARD). */
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
    int32_t *const checkpoint_slot;     /* [num_groups, max_rows] slot that it goes to; not looked at without one */
    int32_t *const seq_index;           /* [max_rows] the row's element of device seq_lens; -1: the row's number.
                                           NULL on the CPU */
    int32_t *const accepted_index;      /* [max_rows] likewise of device num_accepted_tokens */
    int32_t num_rows;                   /* rows written; the host counts them up and sets 0 for the next step */
    int32_t padded_rows;                /* rows with padding, or 0: num_rows. Padding rows are made by the build */
    int32_t padded_tokens;              /* tokens with padding, or 0: the sum of query_len */
    int32_t indexed;                    /* 0: seq_index and accepted_index are not looked at, as if all -1 */
    const int32_t max_rows, max_blocks_per_row, num_groups;
} gdn_batch;

/* read_column by default: none, all: num_accepted_tokens - 1; align without speculation:
 * the column of the last computed token; -1 on rows with nothing computed. With speculation,
 * `align` cannot tell, and strict refuses the row. */
enum { GDN_READ_DEFAULT = -2 };

/* An empty batch for b and no other builder. After GDN_EGUARD a batch is good for nothing but freeing.
 * Errors: GDN_ENOMEM. */
GDN_API gdn_status gdn_batch_new(const gdn_builder *b, GDN_OWN gdn_batch **out);
GDN_API void gdn_batch_free(GDN_OWN GDN_NULL_OK gdn_batch *batch);

/* ---- 4. Build ---- */

/* Build the metadata of a batch: O(rows + output), no allocation, no system call, nothing written
 * unless the whole batch is accepted. `stream` is the CUDA stream to launch on, ignored on the CPU: one
 * launch there, no copy and no wait, and the tensors are ready for what is enqueued on it afterwards. What
 * still reads the tensors of the step before must have been enqueued on it too, or be done. A stream that
 * is being captured is refused: graphs read the tensors, builds happen outside them. On CUDA a build that would
 * write what the last one wrote on that stream, from the host alone and without check and poison, launches nothing
 * (gdn_counters.skipped): nobody else may write the tensors.
 *
 * Legal batches (strict). Anything else is refused with row, field, value and wanted range. Rows up to
 * the last one that has tokens are real; those after it are padding. A step is speculative when S > 0 and some
 * row has num_draft_tokens >= 0, 0 drafts included; in any other step each row writes the first block of its window
 * alone.
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
 *   - a written block is written once, and no other row of the group reads it; one that no row writes
 *     may be read by many (check_unique = 0 leaves this out, for hosts whose pool guarantees it);
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

/* An array in the arena. Addresses of a field are fixed for the builder's life, so that captured
 * graphs may read them; contents are valid until the builder's next build. */
typedef struct gdn_tensor {
    void *data;       /* NULL: this step has no such tensor. Device memory on a CUDA builder */
    int32_t shape[2]; /* shape[1] is 1 for a vector */
    int32_t dtype;    /* GDN_INT32, ... */
    int32_t ndim;     /* 1 or 2 */
} gdn_tensor;

/* One step, described. Rows of a speculative step are split in two: spec rows (num_draft_tokens
 * >= 0) and non-spec rows; in any other step all rows are non-spec rows. n is the length of the
 * named class, b the padded size of a step for a captured graph (full_cuda_graph, no prefills), else n.
 * Tensors marked * exist once a cache group: those here are group 0's, see gdn_metadata_group.
 *
 * Kernels tell rows to skip by 0 or by -1: pad_slot_id says which. It stands in state and read indices for
 * padding, for rows without tokens whose block is the null slot, for every row of a strict capture, and in
 * place of a bad value found on the device. A fresh row reads 0 in either case. Where pad_slot_id is -1, a
 * kernel can thus tell the two apart: it skips -1, and 0 is a row of the pool that no row writes, so that
 * zeros kept there are what a fresh row starts from.
 *
 * With full_cuda_graph, no buffer of state or read indices has slots of an earlier step, behind a tensor or where the
 * step has none: a graph that is replayed out of turn finds slots of the last build, pad_slot_id, or on a new CPU
 * builder 0. (poison writes over them instead.) */
typedef struct gdn_metadata {
    int64_t step;                  /* successful builds so far; a view of another step is stale */
    int32_t num_prefills;          /* rows from the first on that has more tokens than one, or (strict) nothing
                                      computed; of a speculative step: non-spec rows with tokens */
    int32_t num_prefill_tokens;
    int32_t num_decodes;           /* 0 in every speculative step but those of buckets: plain decodes there count as
                                      prefills */
    int32_t num_decode_tokens;
    int32_t num_spec_decodes;
    int32_t num_spec_decode_tokens;
    int32_t num_actual_tokens;     /* tokens with padding */
    int32_t num_rows;              /* num_reqs: rows with padding, as the batch or the raw caller counts them */
    int32_t num_tiles;             /* conv1d tiles of batch_ptr, nums_dict's `tot`; 0 without prefills. In a bucket
                                      those that a launch covers */
    int32_t uniform_spec_sequence_length; /* tokens that every speculative row has; 0: they differ, or there is none */
    int32_t checkpoint_every_n_tokens;    /* see the checkpoint_* below; 0: no plan */
    int32_t num_checkpoints;

    /* Every row: where its tokens lie and where its state lives. */
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

/* GDN_GRAPH_MIXED. A bucket is (R rows, T tokens): padded_rows and padded_tokens of a batch, or where those are 0 its
 * rows and tokens. One captured graph serves every step of a bucket, whatever speculative rows, decodes and prefills
 * are in it, for shape and address of each tensor follow from the bucket alone:
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
 * Row R of the arrays of non-spec rows and of prefills is always empty: what is padding may name it. num_tiles is
 * ceil(T / 8) + R, which a launch covers. Without speculation (S = 0) there are neither spec_* tensors nor lists of
 * tokens: the non-spec tokens are the batch. There is no spec_sequence_masks, and no
 * plan of checkpoints, whose length follows from the step. Decodes are the non-spec rows in front of
 * the first prefill, next to speculative rows, too. gdn_build_raw and gdn_capture have no such steps. */
enum { GDN_TOKEN_PADDING = 0, GDN_TOKEN_SPEC = 1, GDN_TOKEN_DECODE = 2, GDN_TOKEN_PREFILL = 3 };

/* Shapes of a bucket, before there is a builder: shape, dtype and ndim of *out's tensors, whose data are NULL; ndim is
 * 0 where there is none. Its num_rows, num_actual_tokens and num_tiles are the bucket's, its other numbers 0.
 * Errors: GDN_EINVAL, GDN_ECAP for more than a builder of that configuration takes; *out is then untouched. */
GDN_API gdn_status gdn_bucket(const gdn_config *config, int32_t rows, int32_t tokens, gdn_metadata *out,
                              GDN_NULL_OK char *why, size_t why_size);

/* Build a bucket's step without rows: every slot is pad_slot_id, whatever tables hold. A graph is captured and warmed
 * with it, and a rank without work runs it. Errors: GDN_EINVAL, GDN_ECAP, GDN_EDEVICE. */
GDN_API gdn_status gdn_capture_bucket(gdn_builder *b, int32_t rows, int32_t tokens, GDN_NULL_OK void *stream);

/* ---- 6. Reading and export ---- */

/* Copy `bytes` of the metadata's tensors to the host, from anywhere within one, waiting for the build on its
 * stream, which must still exist. Errors: GDN_EINVAL, GDN_EDEVICE. */
GDN_API gdn_status gdn_builder_read(gdn_builder *b, void *to, const void *from, size_t bytes);

/* Tensors for other libraries, without a copy, by the DLPack protocol, version 1. The structs are laid out as DLPack's,
 * under names of our own so that its header may be included as well: a gdn_dlpack * is a DLManagedTensorVersioned *,
 * a gdn_dlpack_unversioned * a DLManagedTensor *. */

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

/* For consumers that know no versions, and so no flags: it is read-only as well. */
typedef struct gdn_dlpack_unversioned {
    gdn_dl_tensor dl_tensor;
    void *manager_ctx;
    void (*deleter)(struct gdn_dlpack_unversioned *self);
} gdn_dlpack_unversioned;

/* Export a tensor of b's metadata, of any group. It is a view like the metadata's, of the same memory: the
 * next build overwrites it, and a reader on another stream must wait for the build itself. That
 * memory, and on CUDA its context, live until the builder is freed and every export is deleted, in any order.
 * (A context that was the caller's when the builder was made must outlive them too.) Consumers must not write:
 * builds rely on padding that is in place. Errors: GDN_EINVAL for what is no tensor of b, GDN_ENOMEM. */
GDN_API gdn_status gdn_tensor_export(gdn_builder *b, const gdn_tensor *tensor, GDN_OWN gdn_dlpack **out);
GDN_API gdn_status gdn_tensor_export_unversioned(gdn_builder *b, const gdn_tensor *tensor,
                                                 GDN_OWN gdn_dlpack_unversioned **out);

/* ---- 7. Inputs on the device ---- */

/* Inputs that an asynchronous engine keeps on the device, for CUDA builders; each may be used on its own.
 * A build reads them on its stream, in place of the host's arrays of that name, so what writes them must
 * have been enqueued there before, and they must stay valid and unchanged until the build's launch is done.
 * Everything that the host passes is copied by the call: its arrays may be reused at once.
 *
 * Sizes and classes come from the host: query_len, num_draft_tokens, and read_column = -1 for a row with
 * nothing computed yet (all others count as computed). What only the device knows, the device checks; see
 * gdn_device_error. Two rows that write the same block of a device table are not noticed.
 * memory NULL: back to the host's. Errors: GDN_EINVAL for memory of the host or of another device. */

/* A table as in gdn_builder_borrow_table. Rows of a batch's own (~k) are refused while it is in use. */
GDN_API gdn_status gdn_builder_borrow_device_table(gdn_builder *b, int32_t group, GDN_NULL_OK const int32_t *memory,
                                                   int64_t row_stride, int32_t rows);
/* seq_len [n] in any order, see seq_index. `align` then wants all tables on the device as well. */
GDN_API gdn_status gdn_builder_borrow_device_seq_lens(gdn_builder *b, GDN_NULL_OK const int32_t *memory, int32_t n);
/* num_accepted_tokens [n], see accepted_index. Not for gdn_capture, which makes them itself. */
GDN_API gdn_status gdn_builder_borrow_device_accepted(gdn_builder *b, GDN_NULL_OK const int32_t *memory, int32_t n);

/* Did a finished build find something wrong with its device inputs? It then used pad_slot_id in place
 * of a bad slot. GDN_OK, GDN_EDEVICE in a child of the builder's process, or GDN_EINVAL with the reason in
 * gdn_last_error until the error is forgotten. */
GDN_API gdn_status gdn_device_error(gdn_builder *b, int32_t forget);

/* ---- 8. vLLM's arguments, and captures ---- */

/* The arguments of vLLM's builder, for hosts that already hold them. Array lengths are
 * given because a wrong one must be refused, not read. */
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
    const int32_t *seq_index, *accepted_index; /* [rows] or NULL, as in a batch; on the device their arrays, and
                                                tables, need not be given here */
    int64_t block_table_stride;              /* elements from row to row */
    int32_t block_table_rows, block_table_cols;
    int32_t num_query_start_loc;             /* rows + 1 */
    int32_t num_seq_lens;
    int32_t num_num_accepted_tokens;
    int32_t num_num_decode_draft_tokens;
} gdn_raw;

/* As gdn_build, under the builder's rules. Errors: GDN_EINVAL, GDN_ECAP, GDN_EDEVICE. */
GDN_API gdn_status gdn_build_raw(gdn_builder *b, const gdn_raw *raw, GDN_NULL_OK void *stream);

/* Build the step that a CUDA graph is captured with. num_reqs and num_actual_tokens must not pass
 * CAP; drafts and accepted counts follow from the query lengths. strict wants the query lengths
 * uniform, 1 or S + 1, and emits pad_slot_id alone; seq_lens and block_tables may then be NULL. Its rows of one
 * token are decodes, or with num_decode_draft_tokens of 0 speculative rows that drafted nothing.
 * Errors: GDN_EINVAL, GDN_ECAP, GDN_EDEVICE. */
GDN_API gdn_status gdn_capture(gdn_builder *b, const gdn_raw *raw, GDN_NULL_OK void *stream);

/* ---- 9. Verification ---- */

/* Checks: every invariant that can be read off the outputs, by the device that wrote them, in one launch behind the
 * fill's. What should be there follows from the outputs and the metadata's scalars alone. */
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
    GDN_CHECK_TAIL = 12,     /* prefill_* are the non_spec_* after the decodes, decode_* those in front */
    GDN_CHECK_SHIFT = 13,    /* strict: *_conv_shift are accepted - 1, and 0 where nothing is read */
    GDN_CHECK_REFUSED = 14,  /* the device did not make the check */
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

/* Did a check that is finished find a violation? Waits for nothing, so a step's answer comes a step late. Of the
 * first step that has one the first in the order of gdn_metadata, and it stays until it is forgotten. GDN_OK, or
 * GDN_EINVAL with the words in gdn_last_error and the facts in *out. Of the rows that share a slot the
 * one that is named may be either. What a device put in place of a bad input (gdn_device_error) is found as well.
 *
 * What no check can see, for the outputs would be as good: a boundary that moves between its two rows and changes no
 * count of tiles or chunks and no copy of it; a slot in place of another that no other row uses or, where it is only
 * read or stands behind a row's drafts, that nobody else writes (without check_unique: any of the pool); a
 * non_spec_conv_shift within 0 .. S on a row with a state. Of a bucket's non-spec rows that shift alone: boundaries and
 * slots have copies. Under the vLLM rule sets also: slots, accepted counts,
 * has_initial_state of either value, the end of a batch whose prefills have no decodes in front, or that has none,
 * the last boundary where num_reqs cuts the arrays short, the mask of a row without tokens in a padded step, and
 * without a plan a checkpoint elsewhere in its row, or in a row that keeps none. Under strict a checkpoint elsewhere in
 * its row where neither checkpoint_chunk nor a plan says where. */
GDN_API gdn_status gdn_check_result(gdn_builder *b, int32_t forget, GDN_NULL_OK gdn_violation *out);

/* Check the last build's outputs again, as they are once what is enqueued on `stream` is done.
 * Errors: GDN_EINVAL where the builder was made without check, has built nothing, or the stream is being captured;
 * GDN_EDEVICE. */
GDN_API gdn_status gdn_check(gdn_builder *b, GDN_NULL_OK void *stream);

/* ---- 10. States for kernels that read where they write ---- */

/* Under rules strict a row is read at its read index, and its conv window *_conv_shift tokens into the slot. Kernels
 * that know neither read the slot that they write. That is wrong after a speculative step, when an `align` window
 * moves, and for a state that others share. These calls copy states and windows to where such kernels look, before
 * they run: on `stream`, after the build, by one launch (on the CPU, before the call returns). Nothing is waited for,
 * copied by the driver or allocated.
 *
 * The device reads the step's index tensors, so that a launch may be captured in a graph: replayed after another build
 * it serves that step. It looks at as many rows as the last build's tensors had when it was captured, which must be
 * those of the steps that it serves (steps padded to one size have them). It writes slots that the step's rows write,
 * of rows that need it. Which these are, with
 *     R  the row's read index, W  the first slot that it writes: non_spec_state_indices_tensor[row] or
 *     spec_state_indices_tensor[row, 0], h  its conv shift, a  num_accepted_tokens[row]:
 *
 *   row                         state                               window
 *   non-spec (GDN_BRING_FIRST:  R to W, unless R = W                h = 0: R to W, whole, unless R = W
 *     speculative ones too)                                         h > 0: tokens h .. length - 1 of V to W's
 *                                                                          0 .. length - 1 - h; the last h stay
 *   speculative,                R to A, unless R = A; A is slot     R to W, whole and not shifted (the kernel does
 *     GDN_BRING_ACCEPTED          a - 1 that the row writes         that), unless R = A or R = W
 *   any with R or the target    nothing                             nothing
 *     null or outside the pool (padding, fresh rows, captures)
 *
 * V is where the last step left the window. GDN_WINDOWS_IN_FIRST: in the first slot that it wrote, as vLLM's conv
 * kernels do, and so V = W. This is right where a row's table keeps its columns, and needs h = 0 of a state that
 * comes from elsewhere. GDN_WINDOWS_IN_EVERY: in each slot that it wrote, as gdnmeta's reference layer does, and V = R.
 * Mode align needs the latter where windows move; that is its default, the other modes' is the former.
 *
 * GDN_BRING_ACCEPTED is for kernels that start a speculative row from column a - 1 of its slots, as vLLM's do. Where
 * an `align` window moved and a row has fewer tokens than a, it has no such slot: such hosts want GDN_BRING_FIRST, and
 * kernels that get accepted counts of 1. GDN_BRING_LEAVE is for kernels of speculative rows that follow the read
 * indices.
 *
 * Several rows may read one slot. No row may write a slot that another reads, or that another writes: strict refuses
 * such a step unless check_unique is 0, and then the host's pool must guarantee it. */
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

/* Errors, with nothing written: GDN_EINVAL for what is said above, rules other than strict, a builder that has built
 * nothing, pools that overlap each other, themselves or the builder's tensors, memory that is not the device's or ends
 * before the last slot (on the CPU: that is a CUDA device's, where a driver is loaded); GDN_EDEVICE. */
GDN_API gdn_status gdn_bring_states(gdn_builder *b, const gdn_state_pools *states, GDN_NULL_OK void *stream);
GDN_API gdn_status gdn_bring_windows(gdn_builder *b, const gdn_window_pools *windows, GDN_NULL_OK void *stream);

/* ---- 11. Reordering rows ---- */

/* Put a host's rows into the order that gdn_build wants, by the fewest moves of rows that lie
 * outside their region: 0 decode, 1 short extend, 2 long extend, 3 first chunk. order[i]
 * becomes the old row now at i; swaps[2k], swaps[2k + 1] the k-th pair of rows to exchange, so
 * that the host can move its own arrays along. work is scratch, [3 * n].
 * Returns the number of swaps (0: the order was fine), or GDN_EINVAL for a negative n. */
GDN_API int32_t gdn_reorder(int32_t n, int32_t decode_threshold, const int32_t *num_scheduled,
                            const int32_t *num_computed, const int32_t *num_prompt, int32_t *order,
                            int32_t *swaps, int32_t *work);

#if !defined(GDNMETA_CDEF) && defined(__cplusplus)
}
#endif
#endif
