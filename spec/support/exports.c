/* Exports deleted by many threads at once, while their builder is freed: run under ThreadSanitizer. Prints how
 * many were deleted, and the sum of what they held. */
#include "gdnmeta.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 4, EXPORTS = 64, ROUNDS = 50 };

static gdn_dlpack *exports[THREADS][EXPORTS];
static long sums[THREADS];

static void *consume(void *argument)
{
    long *sum = argument;
    for (int i = 0; i < EXPORTS; i++) {
        gdn_dlpack *e = exports[sum - sums][i];
        *sum += ((const int32_t *)e->dl_tensor.data)[0];
        e->deleter(e);
    }
    return NULL;
}

static int make(const gdn_config *config, gdn_builder **builder)
{
    gdn_batch *batch;
    if (gdn_builder_new(config, builder, NULL, 0) || gdn_batch_new(*builder, &batch)) return 0;
    batch->query_len[0] = batch->seq_len[0] = 3;
    batch->num_draft_tokens[0] = -1;
    batch->num_accepted_tokens[0] = 1;
    batch->table_row[0] = ~0;
    batch->blocks[0] = 3;
    batch->read_column[0] = -1;
    batch->num_rows = 1;
    int built = !gdn_build(*builder, batch, NULL);
    gdn_batch_free(batch);
    return built;
}

int main(void)
{
    gdn_config config;
    gdn_config_init(&config);
    config.max_num_seqs = 4;
    for (int round = 0; round < ROUNDS; round++) {
        gdn_builder *builder;
        pthread_t threads[THREADS];
        if (!make(&config, &builder)) return EXIT_FAILURE;
        const gdn_tensor *slots = &gdn_builder_metadata(builder)->non_spec_state_indices_tensor;
        for (int t = 0; t < THREADS; t++)
            for (int i = 0; i < EXPORTS; i++)
                if (gdn_tensor_export(builder, slots, &exports[t][i])) return EXIT_FAILURE;
        for (int t = 0; t < THREADS; t++)
            if (pthread_create(&threads[t], NULL, consume, &sums[t])) return EXIT_FAILURE;
        gdn_builder_free(builder);
        for (int t = 0; t < THREADS; t++) pthread_join(threads[t], NULL);
    }
    printf("%d %ld\n", ROUNDS * THREADS * EXPORTS, sums[0] + sums[1] + sums[2] + sums[3]);
    return EXIT_SUCCESS;
}
