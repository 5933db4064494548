/* What the parts of the specs' driver share: codes, counters, contexts, memory and the work of streams. */
#ifndef FAKECUDA_H
#define FAKECUDA_H

#include "verify/verify_element.h"
#include "cuda/fill_element.h"
#include "bring/bring_block.h"

#include <stddef.h>

#define API __attribute__((visibility("default")))

enum { OK, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, DEINITIALIZED = 4, INVALID_DEVICE = 101, INVALID_CONTEXT = 201,
       INVALID_HANDLE = 400, NOT_FOUND = 500, NOT_READY = 600, LAUNCH_FAILED = 719, CAPTURE_UNSUPPORTED = 900,
       CAPTURE_INVALIDATED = 901 };

/* ---- calls.c: counters, failures, contexts ---- */

typedef struct counters {
    long calls, launches, copies, waits, allocations, bytes, blocks;
    long live;      /* objects and memory not yet given back */
    long overruns;  /* memory freed with its guard overwritten */
    long kernel, shared; /* of the last launch: 0 .. 2 by the payload's size, and bytes of shared memory */
    long unit, pieces; /* of the last launch that brings: bytes of a load, and parts of a slot */
    long carried;   /* a sum of what launches carried beside addresses and payloads */
} counters;
extern counters count;

/* Counts a call. OK, or the code that it was asked to fail with. */
int enter(const char *call);
#define ENTER()                             \
    do {                                    \
        int failure = enter(__func__);      \
        if (failure) return failure;        \
    } while (0)
/* Calls that give back do so and then report: a driver returns earlier failures from them. */
#define ENTER_AND_DO(action)                \
    do {                                    \
        action;                             \
        ENTER();                            \
    } while (0)

typedef struct context { int device, primary, references; } context;
context *current(void); /* NULL: none */

/* ---- memory.c ---- */

/* [a page of canaries, the memory, canaries to the end of a page] */
typedef struct memory { char *base; size_t bytes; int on_host; context *owner; unsigned flags; } memory;

memory *find(uint64_t p, size_t bytes); /* the block that holds all of it, or NULL */
void give_back_all_of(const context *owner);

/* What the work at hand names, and nothing else, is within reach while it runs. */
void reach(uint64_t p);
void let_go(void);

/* ---- streams.c: work is a list of operations ---- */

typedef struct operation {
    enum { NONE, LAUNCH, CHECK, BRING, COPY, SET, RECORD } kind;
    unsigned grid, shared;
    int kernel;
    void *launch; /* gdn_launch, gdn_verify_input or gdn_bring_plan */
    size_t launch_bytes;
    const unsigned char *ring;
    uint32_t shared_bytes;
    void *to;
    const void *from;
    size_t bytes;
    struct event *event;
} operation;

int enqueue(void *stream, operation o); /* takes o.launch */
void drain_stream(void *stream); /* not while it is captured */
void drain_all(void);

/* ---- launch.c ---- */

void run_launch(const operation *o);
void run_checks(const operation *o);
void run_bring(const operation *o);

#endif
