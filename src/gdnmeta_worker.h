/* gdnmeta_worker.h - how an engine talks to a worker, a process that owns a device and runs the model.
 *
 *     engine --step record--> channel --> worker: gdn_step_unpack, gdn_step_batch, gdn_build, the model
 *     engine <--result record-- channel <-- worker: gdn_result_pack
 *
 * The first record is a hello: what the worker makes its builder of. A worker answers it with a result of number 0.
 * gdnmeta.h needs none of this, and its conventions hold here; besides:
 *   - a record is one contiguous piece of memory, a multiple of 8 bytes, in the byte order and with the number formats
 *     of the machine (both processes run on it), and ends in nothing that a reader would have to guess;
 *   - *_pack writes a record and returns its bytes, less than 2^31, or a negative status; what it refuses, it writes
 *     nothing of;
 *   - *_unpack checks a record whole - version, checksum, sizes, counts, then the values - before it sets *out to views
 *     of it: pointers into the record, which the caller keeps. Nothing here allocates but *_new and *_open;
 *   - `why` (of why_size bytes, may be NULL) gets the sentence of a refusal.
 */
#ifndef GDNMETA_WORKER_H
#define GDNMETA_WORKER_H

#include "gdnmeta.h"

#if !defined(GDNMETA_CDEF) && defined(__cplusplus)
extern "C" {
#endif

/* Of records and channels: stands in each of them, and other versions are refused. Changes with any layout, value or
 * signature of this header; the second number is a hash of those, see spec/worker/worker_abi_spec.lua. */
enum { GDN_WORKER_VERSION = 1 }; /* feea169dacb58d30 */
GDN_API int32_t gdn_worker_version(void); /* the library's */

/* Statuses besides those of gdnmeta.h. */
enum {
    GDN_ECLOSED = -6, /* the other side has closed the channel, and nothing is left to read in it */
    GDN_EVERSION = -7 /* a record or a channel of another GDN_WORKER_VERSION, or of a library with another GDN_ABI */
};

/* ---- 1. Hello ---- */

/* What a worker needs to know before the first step. */
typedef struct gdn_hello {
    gdn_config config;         /* of the engine's builder; a worker sets `device`. num_slots is [num_groups] */
    int64_t seed;              /* for what a model draws */
    int32_t kv_blocks;         /* blocks of the attention cache; 0: the engine assigns none */
    int32_t kv_block_size;     /* tokens */
    int32_t kv_columns;        /* of the kv table, which has config.max_requests rows */
    int32_t max_model_len;     /* tokens of a sequence at most */
    int32_t vocab_size;        /* tokens are below it; 0: not known */
    int32_t max_kv_copies;     /* of one step */
    int32_t asynchronous;      /* 1: a step may come before the result of the one before, with tokens of -1 */
    int32_t reserved;          /* 0 */
} gdn_hello;

/* `hello` of a builder with its configuration and the defaults of the rest: 0, and max_kv_copies as max_requests. */
GDN_API gdn_status gdn_hello_init(const gdn_builder *b, gdn_hello *hello);
GDN_API int32_t gdn_hello_pack(const gdn_hello *hello, void *out, int64_t size, GDN_NULL_OK char *why, size_t why_size);
GDN_API gdn_status gdn_hello_unpack(const void *record, int64_t bytes, gdn_hello *out, GDN_NULL_OK char *why,
                                    size_t why_size);

/* The most bytes of a hello or step record, and of a result record, between these two. */
GDN_API int32_t gdn_step_bytes(const gdn_hello *hello);
GDN_API int32_t gdn_result_bytes(const gdn_hello *hello);

/* ---- 2. Steps ---- */

enum {
    GDN_STEP_HELLO = 0,
    GDN_STEP_ROWS = 1, /* run it */
    GDN_STEP_IDLE = 2, /* no rows: the empty step of the bucket (padded_rows, padded_tokens), to keep ranks together */
    GDN_STEP_STOP = 3  /* leave; no result is awaited */
};
enum { GDN_RUN_EAGER = 0, GDN_RUN_PIECEWISE = 1, GDN_RUN_FULL = 2 };                  /* step.graph */
enum { GDN_BRANCH_SPECULATIVE = 1, GDN_BRANCH_DECODE = 2, GDN_BRANCH_PREFILL = 4 };   /* step.branches, ored */
enum { GDN_TOKEN_PENDING = -1 }; /* in tokens: what the step before emits for this table row, its last one */

/* R rows, T tokens, G groups, C columns. Arrays are [R] unless their shape is given. */
typedef struct gdn_step_record {
    int64_t number;            /* of the step, >= 1 */
    int32_t kind;              /* GDN_STEP_* but HELLO */
    int32_t graph;             /* GDN_RUN_* */
    int32_t branches;          /* GDN_BRANCH_* */
    int32_t num_rows;          /* R */
    int32_t num_tokens;        /* T, the sum of query_len */
    int32_t padded_rows;       /* >= R */
    int32_t padded_tokens;     /* >= T */
    int32_t num_groups;        /* G */
    int32_t columns;           /* C of `slots`: S + 1; `align`: 1 + num_speculative_blocks */
    int32_t num_table_changes;
    int32_t num_kv_copies;
    int32_t num_bring;         /* rows that gdn_bring_* have something to do for; 0: those calls can be left out */
    const int64_t *request;    /* number of the request, the same for its whole life */
    const uint64_t *seed;      /* of its sampling */
    const int32_t *query_len;  /* these nine as in gdn_batch, where two have longer names */
    const int32_t *seq_len;
    const int32_t *drafts;     /* num_draft_tokens */
    const int32_t *accepted_tokens; /* num_accepted_tokens */
    const int32_t *prompt_done;
    const int32_t *table_row;  /* row of the state tables and of the kv table, the same while the request runs */
    const int32_t *read_column;
    const int32_t *checkpoint_len;
    const int32_t *samples;    /* 1: the row emits; 0: a chunk of a prompt that goes on */
    const float *temperature;  /* 0: the likeliest token */
    const float *top_p;        /* in (0, 1] */
    const int32_t *slots;      /* [G, R, C] state slots of the row's window: those that it writes */
    const int32_t *read_slots; /* [G, R] slot of its current state; 0: fresh */
    const int32_t *checkpoint_slot; /* [G, R] */
    const int32_t *tokens;     /* [T] in row order, drafts included; or GDN_TOKEN_PENDING */
    const int32_t *table_changes; /* [num_table_changes, 3] (table_row, column, block) of the kv table, to be made
                                     before the step runs */
    const int32_t *kv_copies;  /* [num_kv_copies, 2] (from, to) blocks to copy then, in this order */
} gdn_step_record;

/* All arrays from `step`. `limits` NULL: only what holds for every worker is checked. Errors: GDN_EINVAL; GDN_ECAP,
 * where `size` is too small. */
GDN_API int32_t gdn_step_pack(const gdn_step_record *step, GDN_NULL_OK const gdn_hello *limits, void *out, int64_t size,
                              GDN_NULL_OK char *why, size_t why_size);

/* The same for the rows of a batch of b that was built: counts, row arrays and slots are those of the batch and its
 * tables. `rest` has the others: number, kind, graph, branches, request, samples, temperature, top_p, seed, tokens and
 * num_tokens, table_changes, kv_copies and their counts. */
GDN_API int32_t gdn_step_pack_batch(const gdn_builder *b, const gdn_batch *batch, const gdn_step_record *rest,
                                    GDN_NULL_OK const gdn_hello *limits, void *out, int64_t size, GDN_NULL_OK char *why,
                                    size_t why_size);

/* Errors: GDN_EINVAL. The record must be aligned to 8 bytes. */
GDN_API gdn_status gdn_step_unpack(const void *record, int64_t bytes, GDN_NULL_OK const gdn_hello *limits,
                                   gdn_step_record *out, GDN_NULL_OK char *why, size_t why_size);

/* The step's rows as a batch of b, ready for gdn_build: it then builds what the engine's builder has built, whatever
 * the tables of b hold. Idle steps are for gdn_capture_bucket. Errors: GDN_EINVAL, GDN_ECAP. */
GDN_API gdn_status gdn_step_batch(const gdn_step_record *step, const gdn_builder *b, gdn_batch *batch,
                                  GDN_NULL_OK char *why, size_t why_size);

/* What the kv tables of a worker hold of an engine's: a row's first blocks, and whose. */
typedef struct gdn_kv_sent {
    int64_t owner;             /* -1: nothing is known of the row */
    int32_t columns, reserved;
} gdn_kv_sent;

/* Changes of the rows of a step into out[capacity, 3]: columns of `table` (int32 [rows, columns]) that the worker does
 * not have. A row whose owner is another than last time is sent whole. used[i] says how many columns row i has. Returns
 * the number of changes, or GDN_ECAP or GDN_EINVAL, and `sent` is then unchanged. */
GDN_API int32_t gdn_kv_changes(int32_t num_rows, const int32_t *table_row, const int64_t *owner, const int32_t *used,
                               const int32_t *table, int32_t rows, int32_t columns, gdn_kv_sent *sent, int32_t *out,
                               int32_t capacity);

/* ---- 3. Results ---- */

enum { GDN_RESULT_OK = 0, GDN_RESULT_FAILED = 1 }; /* FAILED: the worker cannot go on, and says why */

typedef struct gdn_result_record {
    int64_t number;            /* of the step; 0: of the hello */
    int32_t status;            /* GDN_RESULT_* */
    int32_t num_rows;          /* of the step; 0 for FAILED */
    int32_t num_tokens, num_drafts;
    int32_t text_bytes;        /* up to 4095 */
    int32_t has_drafts;        /* 1: next_drafts is there. gdn_result_pack looks at that itself */
    const int32_t *emitted;    /* [num_rows] tokens that the row emitted: its accepted drafts plus one, 0 without
                                  `samples` */
    const int32_t *tokens;     /* [num_tokens] the sum of `emitted`, in row order */
    const int32_t *next_drafts; /* [num_rows] drafts that the model proposes for the row's next step; NULL: none, and
                                   num_drafts is 0 */
    const int32_t *drafts;     /* [num_drafts] the sum of those, in row order */
    const char *text;          /* [text_bytes + 1] ends in 0 */
} gdn_result_record;

GDN_API int32_t gdn_result_pack(const gdn_result_record *result, void *out, int64_t size, GDN_NULL_OK char *why,
                                size_t why_size);
GDN_API gdn_status gdn_result_unpack(const void *record, int64_t bytes, gdn_result_record *out, GDN_NULL_OK char *why,
                                     size_t why_size);
/* The arrays into those of the caller, of max_rows and max_rows * (S + 1) elements, and max_rows and max_rows * S.
 * Without next_drafts the latter two stay as they are. */
GDN_API void gdn_result_copy(const gdn_result_record *result, int32_t *emitted, int32_t *tokens, int32_t *next_drafts,
                             int32_t *drafts);

/* ---- 4. Channel ---- */

/* Two rings in shared memory, one each way, with one writer and one reader each. Records are copied in and out, so
 * that the other side cannot change what was checked; positions are those that this side has kept, so that a peer which
 * lies about its own cannot lead a reader or a writer outside. */
typedef struct gdn_channel gdn_channel;

/* The engine's side: memory without a name. step_bytes and result_bytes are the largest record of each ring. Errors:
 * GDN_EINVAL, where one is not in 8 .. 2^31 - 8; GDN_ENOMEM. */
GDN_API gdn_status gdn_channel_new(int64_t step_bytes, int64_t result_bytes, GDN_OWN gdn_channel **out,
                                   GDN_NULL_OK char *why, size_t why_size);
/* The worker's side, by a descriptor that it inherited and keeps. One worker may open a channel. Errors: GDN_EINVAL,
 * where the memory is no channel, or is open; GDN_EVERSION, GDN_ENOMEM. */
GDN_API gdn_status gdn_channel_open(int32_t descriptor, GDN_OWN gdn_channel **out, GDN_NULL_OK char *why,
                                    size_t why_size);
GDN_API void gdn_channel_free(GDN_OWN GDN_NULL_OK gdn_channel *c); /* closes this side first */
GDN_API void gdn_channel_close(gdn_channel *c);                    /* the other side learns of it */
GDN_API int32_t gdn_channel_descriptor(const gdn_channel *c);      /* close-on-exec; -1: the worker's side */
GDN_API int32_t gdn_channel_largest(const gdn_channel *c, int32_t receive); /* bytes of a record to send or receive */

/* Never blocks. GDN_ECAP: no room now; GDN_EINVAL: larger than the ring takes; GDN_EGUARD: the peer's position is not
 * possible; GDN_ECLOSED. */
GDN_API gdn_status gdn_channel_send(gdn_channel *c, const void *record, int64_t bytes);
/* The next record into out[size]: its bytes; 0: none within `seconds` (0: do not wait). GDN_ECAP: `size` is too small;
 * GDN_EGUARD: position or length are not possible; GDN_ECLOSED. */
GDN_API int32_t gdn_channel_receive(gdn_channel *c, void *out, int64_t size, double seconds);

/* Version of the worker that has opened the channel, or tried to with another one than its engine has; 0: none. */
GDN_API int32_t gdn_channel_peer_version(const gdn_channel *c);

/* Signs of life: this side makes one, those of the other side so far. */
GDN_API void gdn_channel_beat(gdn_channel *c);
GDN_API int32_t gdn_channel_beats(const gdn_channel *c);

/* ---- 5. Process ---- */

/* A worker's process, which runs in a process group of its own and dies with the thread that has started it. */
typedef struct gdn_process gdn_process;

/* Start arguments[0], looked for in PATH, with arguments (NULL at the end) and the caller's environment, in which
 * `environment` ("NAME=value", NULL at the end) replaces what it names. It inherits standard output and error, nothing
 * as its input, and `descriptor` as number GDN_PROCESS_DESCRIPTOR: no other one, and no ignored or blocked signal.
 * Errors: GDN_EINVAL, where it cannot be run; GDN_ENOMEM. */
enum { GDN_PROCESS_DESCRIPTOR = 3 };
GDN_API gdn_status gdn_process_new(const char *const *arguments, GDN_NULL_OK const char *const *environment,
                                   int32_t descriptor, GDN_OWN gdn_process **out, GDN_NULL_OK char *why,
                                   size_t why_size);
/* Kill it and what it has started, whatever they do. Never waits: what is left of them goes with a later call of any
 * gdn_process_*. */
GDN_API void gdn_process_free(GDN_OWN GDN_NULL_OK gdn_process *p);
GDN_API int32_t gdn_process_id(const gdn_process *p); /* 0: it has ended */
/* Has it ended, and how? text[text_size] says it in words. Never waits. */
GDN_API int32_t gdn_process_ended(gdn_process *p, GDN_NULL_OK char *text, size_t text_size);

#if !defined(GDNMETA_CDEF) && defined(__cplusplus)
}
#endif
#endif
