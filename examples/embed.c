/* A C host: one step of a decode and a prompt, read in place, and one tensor handed to another library.
 *   cc examples/embed.c -Isrc -Lbuild -lgdnmeta -o build/embed && LD_LIBRARY_PATH=build build/embed */
#include "gdnmeta.h"

#include <stdio.h>
#include <stdlib.h>

static void add(gdn_batch *batch, int32_t query_len, int32_t seq_len, int32_t block)
{
    int32_t row = batch->num_rows++;
    batch->query_len[row] = query_len;
    batch->seq_len[row] = seq_len;
    batch->num_draft_tokens[row] = -1;
    batch->num_accepted_tokens[row] = 1;
    batch->prompt_done[row] = query_len == 1;
    batch->table_row[row] = ~row; /* the batch's own: */
    batch->blocks[row * batch->max_blocks_per_row] = block;
    batch->read_column[row] = GDN_READ_DEFAULT;
}

static void print(const char *name, const gdn_tensor *tensor)
{
    const int32_t *values = tensor->data; /* on a CUDA builder in its memory: gdn_builder_read copies it */
    printf("%s", name);
    for (int32_t i = 0; i < tensor->shape[0] * tensor->shape[1]; i++) printf(" %d", (int)values[i]);
    printf("\n");
}

/* A consumer of a tensor: it owns the export, and deletes it when it is done. */
static void consume(gdn_dlpack *tensor)
{
    const gdn_dl_tensor *t = &tensor->dl_tensor;
    const int32_t *values = t->data;
    printf("handed on: int%d [%d] %d %d\n", t->bits, (int)t->shape[0], (int)values[0], (int)values[1]);
    tensor->deleter(tensor);
}

int main(void)
{
    char why[256];
    gdn_config config;
    gdn_builder *builder = NULL;
    gdn_batch *batch = NULL;
    gdn_dlpack *slots = NULL;

    gdn_config_init(&config);
    config.max_num_seqs = 8;
    config.max_num_batched_tokens = 1024;
    if (gdn_builder_new(&config, &builder, why, sizeof why)) {
        fprintf(stderr, "%s\n", why);
        return EXIT_FAILURE;
    }
    if (gdn_batch_new(builder, &batch)) return EXIT_FAILURE;

    add(batch, 1, 2001, 7);  /* a request's next token */
    add(batch, 130, 130, 3); /* another's first 130 */
    if (gdn_build(builder, batch, NULL)) {
        fprintf(stderr, "%s\n", gdn_last_error(builder));
        return EXIT_FAILURE;
    }
    const gdn_metadata *meta = gdn_builder_metadata(builder);
    printf("decodes %d, prefills %d\n", (int)meta->num_decodes, (int)meta->num_prefills);
    print("query_start_loc", &meta->non_spec_query_start_loc);
    print("chunk_indices", &meta->chunk_indices);

    batch->num_rows = 0;
    add(batch, 9, 4, 1);
    if (gdn_build(builder, batch, NULL)) printf("refused: %s\n", gdn_last_error(builder));

    if (gdn_tensor_export(builder, &meta->non_spec_state_indices_tensor, &slots)) return EXIT_FAILURE;
    gdn_batch_free(batch);
    gdn_builder_free(builder);
    consume(slots); /* its memory outlived the builder */
    return EXIT_SUCCESS;
}
