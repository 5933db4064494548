/* What both targets of the core share: a builder of some configuration, and what must hold of it. */
#ifndef FUZZ_CASE_H
#define FUZZ_CASE_H

#include "bytes.h"

#include "gdnmeta_scheduler.h"

enum { FUZZ_MAX_GROUPS = 3 };

typedef struct fuzz_case {
    gdn_config config; /* as the builder resolved it */
    int32_t num_slots[FUZZ_MAX_GROUPS];
    gdn_builder *builder;
} fuzz_case;

/* A builder of a configuration that the input chooses. 0: it was refused, with a reason. */
int fuzz_open(fuzz_case *c, fuzz_bytes *in);
void fuzz_close(fuzz_case *c);

/* A row that the configuration allows, in the region that strict wants at this place: 0 .. 3. */
typedef struct fuzz_row {
    int32_t query_len, seq_len, num_draft_tokens, num_accepted_tokens, prompt_done, read_column;
} fuzz_row;

/* Rows that strict accepts, but for the one field in some hundred that is anything at all. */
fuzz_row fuzz_next_row(const fuzz_case *c, fuzz_bytes *in, int32_t *region);

/* cells[n]: distinct blocks in most cases, first .. first + n - 1; now and then null, foreign or no block. */
void fuzz_blocks(fuzz_bytes *in, int32_t first, int32_t *cells, int32_t n);

/* Adds such a row to a batch; its blocks go into the groups' tables, or, tables NULL, into the batch's own. */
void fuzz_push(const fuzz_case *c, fuzz_bytes *in, gdn_batch *batch, int32_t *const tables[], int32_t *region);

/* Everything that a caller can see of the last successful build. */
typedef struct fuzz_seen fuzz_seen;
fuzz_seen *fuzz_look(const fuzz_case *c);

/* After a build: a refused one has a reason and left everything as it was; one that succeeded has outputs
 * that hang together. Frees `before`. */
void fuzz_after(const fuzz_case *c, fuzz_seen *before, gdn_status status);

/* Stops the run with the sentence; the fuzzer then keeps the input. */
_Noreturn void fuzz_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define FUZZ_WANT(condition, ...) \
    do { \
        if (!(condition)) fuzz_fail(__VA_ARGS__); \
    } while (0)

/* fuzz/outputs.c: the tensors of one group against the scalars. */
void fuzz_check_outputs(const fuzz_case *c, const gdn_metadata *m, int32_t group);

#endif
