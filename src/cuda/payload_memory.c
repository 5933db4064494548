/* Memory of a payload: what the largest step of a configuration needs. */
#include "cuda/pack_launch.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(gdn_launch) == GDN_LARGE, "ptxas takes no more");

/* Arrays that pack_launch.c packs of a class and of the step, at most; packed_arrays.c and gdn_payload_take hold it
 * to them. */
enum { CLASS_ARRAYS = 9, STEP_ARRAYS = 7, PIECES = GDN_CLASSES * CLASS_ARRAYS + STEP_ARRAYS };

gdn_payload_sizes gdn_payload_sizes_of(const gdn_settings *settings)
{
    const gdn_config *c = &settings->config;
    size_t rows = (size_t)c->max_rows, groups = (size_t)c->num_groups, states = (size_t)c->num_speculative_tokens + 1;
    int spares_wide = c->rules != GDN_RULES_STRICT || states == 1;
    gdn_payload_sizes n = { .groups = groups,
                            .pieces = PIECES + groups * GDN_GROUP_PIECES,
                            .work = (CLASS_ARRAYS + STEP_ARRAYS + 1) * (rows + 2),
                            .wide = spares_wide ? 0 : groups * rows * states };
    size_t slots = rows * states + rows +
                   (settings->has_checkpoints ? rows : 0); /* to write, to read, to keep; a row is of one class */
    size_t most = gdn_up16(groups * sizeof(gdn_group)) + n.work * sizeof(int32_t) + groups * slots * sizeof(int32_t) +
                  n.pieces * 16;
    n.in_ring = most > GDN_LARGE - sizeof(gdn_head) ? most : 0;
    n.memory = sizeof(gdn_launch) + groups * sizeof(gdn_group) + n.pieces * sizeof(gdn_piece) +
               (n.work + n.wide) * sizeof(int32_t);
    return n;
}

gdn_status gdn_payload_new(gdn_payload *y, const gdn_settings *settings)
{
    gdn_payload_sizes n = gdn_payload_sizes_of(settings);
    y->launch = aligned_alloc(GDN_LAUNCH_ALIGNMENT, sizeof *y->launch);
    y->num_groups = n.groups;
    y->num_work = n.work;
    y->packer.most_pieces = (uint32_t)n.pieces;
    y->groups = calloc(n.groups, sizeof *y->groups);
    y->packer.pieces = calloc(n.pieces, sizeof *y->packer.pieces);
    y->work = calloc(n.work, sizeof *y->work);
    y->wide = n.wide ? calloc(n.wide, sizeof *y->wide) : NULL;
    if (!y->launch || !y->groups || !y->packer.pieces || !y->work || (n.wide && !y->wide)) return GDN_ENOMEM;
    memset(y->launch, 0, sizeof *y->launch);
    return GDN_OK;
}

void gdn_payload_free(gdn_payload *y)
{
    free(y->launch);
    free(y->groups);
    free(y->packer.pieces);
    free(y->work);
    free(y->wide);
}
