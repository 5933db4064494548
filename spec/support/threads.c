/* Builders and threads, for ThreadSanitizer (make tsan); the core is compiled with GDN_DEBUG.
 *   - builders of their own: two threads build the same steps at full load, and come to the same outputs;
 *   - one builder for both: a build is done or refused, and the refusal says why.
 *   threads <builds> */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "push_row.h"

enum { S = 3, ROWS = 128, THREADS = 2 };

static void die(const char *what, const char *why)
{
    fprintf(stderr, "threads: %s: %s\n", what, why);
    exit(1);
}

static gdn_builder *open_builder(gdn_batch **batch)
{
    gdn_config config;
    gdn_builder *b = NULL;
    char why[256];
    gdn_config_init(&config);
    config.max_num_seqs = ROWS;
    config.num_speculative_tokens = S;
    config.full_cuda_graph = 1;
    config.num_groups = 2;
    if (gdn_builder_new(&config, &b, why, sizeof why)) die("gdn_builder_new", why);
    if (gdn_batch_new(b, batch)) die("gdn_batch_new", "no memory");
    for (int32_t g = 0; g < 2; g++)
        for (int32_t i = 0; i < ROWS * (S + 1); i++) gdn_builder_table(b, g)[i] = i + 1;
    return b;
}

/* Step n: plain, speculative or mixed; some of them are refused. */
static void fill(gdn_batch *batch, long n)
{
    int32_t kind = (int32_t)(n % 4), rows = 1 + (int32_t)(n % 100);
    batch->num_rows = 0;
    batch->padded_rows = kind == 1 ? ROWS : 0;
    for (int32_t i = 0; i < rows; i++) push_row(batch, kind == 1 ? 1 + S : 1, 100 + i, kind == 1 ? S : -1);
    if (kind >= 2) push_row(batch, 70, 128, -1);
    if (kind == 3) push_row(batch, n % 8 == 3 ? 65 : 100000, 0, -1);
}

static uint64_t mix(uint64_t sum, const void *memory, size_t bytes)
{
    const unsigned char *at = memory;
    for (size_t i = 0; i < bytes; i++) sum = (sum ^ at[i]) * UINT64_C(1099511628211);
    return sum;
}

static uint64_t outputs(const gdn_builder *b)
{
    const gdn_metadata *m = gdn_builder_metadata(b);
    uint64_t sum =
        mix(0, &m->num_prefills, (size_t)((const char *)&m->spec_query_start_loc - (const char *)&m->num_prefills));
    const gdn_tensor *t[] = { &m->spec_query_start_loc, &m->non_spec_query_start_loc, &m->spec_state_indices_tensor,
                              &m->non_spec_state_indices_tensor, &m->batch_ptr };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++)
        if (t[i]->data) sum = mix(sum, t[i]->data, (size_t)t[i]->shape[0] * (size_t)t[i]->shape[1] * sizeof(int32_t));
    return sum;
}

typedef struct worker {
    pthread_t thread;
    gdn_builder *builder; /* NULL: one of its own */
    long builds, done, refused, busy;
    uint64_t sum;
} worker;

static void *work(void *argument)
{
    worker *w = argument;
    gdn_batch *batch = NULL;
    gdn_builder *own = w->builder ? NULL : open_builder(&batch), *b = own ? own : w->builder;
    if (!own && gdn_batch_new(b, &batch)) die("gdn_batch_new", "no memory");
    for (long n = 0; n < w->builds; n++) {
        fill(batch, n);
        gdn_status status = gdn_build(b, batch, NULL);
        const char *why = status ? gdn_last_error(b) : "";
        if (!own && status == GDN_EINVAL) {
            if (!strstr(why, "another thread")) die("a builder in use", why);
            w->busy++;
            (void)sched_yield();
        } else if (status && status != GDN_ECAP) {
            die("gdn_build", why);
        }
        w->done += !status;
        w->refused += status == GDN_ECAP;
        if (own) w->sum += outputs(b);
    }
    gdn_batch_free(batch);
    gdn_builder_free(own);
    return NULL;
}

static void run(worker *workers, gdn_builder *shared, long builds)
{
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (worker){ .builder = shared, .builds = builds };
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i])) die("pthread_create", "failed");
    }
    for (int i = 0; i < THREADS; i++) (void)pthread_join(workers[i].thread, NULL);
}

int main(int argc, char **argv)
{
    long builds = argc > 1 ? strtol(argv[1], NULL, 10) : 1000;
    worker w[THREADS];
    run(w, NULL, builds);
    if (w[0].sum != w[1].sum || w[0].done != w[1].done) die("builders of their own", "the threads differ");
    if (!w[0].done || !w[0].refused) die("builders of their own", "nothing was built, or nothing refused");
    printf("threads: %ld builds and %ld refusals in each of %d threads, alike\n", w[0].done, w[0].refused, THREADS);

    gdn_batch *batch = NULL;
    gdn_builder *shared = open_builder(&batch);
    long busy = 0, done = 0;
    for (int tries = 0; tries < 100 && !busy; tries++) {
        run(w, shared, builds);
        for (int i = 0; i < THREADS; i++) busy += w[i].busy, done += w[i].done;
    }
    if (!busy || !done) die("one builder for both", "no build met another, or none was done");
    if (gdn_builder_metadata(shared)->step != done)
        die("one builder for both", "its steps are not the builds that were done");
    printf("threads: one builder in %d threads: %ld builds, %ld refused as in use\n", THREADS, done, busy);
    gdn_batch_free(batch);
    gdn_builder_free(shared);
    return 0;
}
