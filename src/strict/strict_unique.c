/* One writer a slot: kernels of one launch run in any order, so a slot that a row writes must not be
 * written or read by another. A slot that is only read may be shared. */
#include "strict/strict.h"

#include <stdlib.h>
#include <string.h>

gdn_status gdn_uniqueness_new(gdn_uniqueness *u, const gdn_settings *settings)
{
    const gdn_config *c = &settings->config;
    if (c->rules != GDN_RULES_STRICT || !c->check_unique) return GDN_OK;
    for (int32_t g = 0; g < c->num_groups; g++)
        if (settings->num_slots[g] > u->slots) u->slots = settings->num_slots[g];
    u->seen = calloc((size_t)u->slots, sizeof *u->seen);
    return u->seen ? GDN_OK : GDN_ENOMEM;
}

void gdn_uniqueness_free(gdn_uniqueness *u)
{
    free(u->seen);
}

static int writes(const gdn_slot_users *k, const gdn_step *step, int32_t i, int32_t slot)
{
    for (int32_t c = 0; c < gdn_slot_users_written(k, step, i); c++)
        if (k->write[i * k->columns + c] == slot) return 1;
    return 0;
}

/* The first row that writes the slot, or that does so besides row `but`. */
static int32_t find_writer(const gdn_slot_users users[2], const gdn_step *step, int32_t slot, int32_t but)
{
    int32_t first = INT32_MAX;
    for (int32_t n = 0; n < 2; n++)
        for (int32_t i = 0; i < users[n].rows; i++) {
            int32_t row = gdn_slot_users_row(&users[n], i);
            if (row != but && row < first && writes(&users[n], step, i, slot)) first = row;
        }
    return first;
}

static gdn_status refuse_second_writer(const gdn_slot_users users[2], const gdn_step *step, int32_t group, int32_t slot,
                                       gdn_error *error)
{
    int32_t first = find_writer(users, step, slot, -1), second = find_writer(users, step, slot, first);
    if (second == INT32_MAX)
        return gdn_fail(error, GDN_EINVAL, "rows[%d] group %d names block %d twice, want a block a column", first,
                        group, slot);
    return gdn_fail(error, GDN_EINVAL, "rows[%d] group %d writes block %d, want one that rows[%d] does not write",
                    second, group, slot, first);
}

/* Takes note of every slot that these rows write; the slot that was taken already, or 0. */
static int32_t mark_written(gdn_uniqueness *u, const gdn_slot_users *k, const gdn_step *step)
{
    uint32_t generation = u->generation, *seen = u->seen;
    for (int32_t i = 0; i < k->rows; i++) {
        const int32_t *write = k->write + i * k->columns;
        for (int32_t c = 0; c < gdn_slot_users_written(k, step, i); c++) {
            if (seen[write[c]] == generation) return write[c];
            seen[write[c]] = generation;
        }
    }
    return 0;
}

static gdn_status check_reads(const gdn_uniqueness *u, const gdn_slot_users users[2], const gdn_slot_users *k,
                              const gdn_step *step, const int32_t *read_column, int32_t group, gdn_error *error)
{
    for (int32_t i = 0; i < k->rows; i++) {
        int32_t row = gdn_slot_users_row(k, i), slot = k->read[i];
        if (read_column[row] < 0 || u->seen[slot] != u->generation || writes(k, step, i, slot)) continue;
        return gdn_fail(error, GDN_EINVAL, "rows[%d] group %d reads block %d, want one that rows[%d] does not write",
                        row, group, slot, find_writer(users, step, slot, row));
    }
    return GDN_OK;
}

/* Generations are even, the number after each is for its checkpoints. */
static void next_generation(gdn_uniqueness *u)
{
    u->generation += 2;
    if (u->generation) return;
    memset(u->seen, 0, (size_t)u->slots * sizeof *u->seen);
    u->generation = 2;
}

gdn_status gdn_uniqueness_check(gdn_uniqueness *u, const gdn_slot_users users[2], const gdn_step *step,
                                const int32_t *read_column, int32_t group, gdn_error *error)
{
    next_generation(u);
    int32_t taken = mark_written(u, &users[0], step);
    if (!taken) taken = mark_written(u, &users[1], step);
    if (taken) return refuse_second_writer(users, step, group, taken, error);
    gdn_status status = GDN_OK;
    for (int32_t n = 0; n < 2; n++)
        if (!status && !users[n].reads_back) status = check_reads(u, users, &users[n], step, read_column, group, error);
    return status;
}

static int32_t find_checkpoint(const gdn_step *step, const int32_t *slots, int32_t slot)
{
    for (int32_t i = 0; i < step->table_rows; i++)
        if (step->checkpoint_len[i] && slots[i] == slot) return i;
    return -1;
}

gdn_status gdn_uniqueness_check_kept(gdn_uniqueness *u, const gdn_slot_users users[2], const gdn_step *step,
                                     const int32_t *read_column, const int32_t *slots, int32_t group, gdn_error *error)
{
    if (!users[0].rows && !users[1].rows) next_generation(u);
    uint32_t written = u->generation, kept = written + 1;
    for (int32_t i = 0; i < step->table_rows; i++) {
        if (!step->checkpoint_len[i]) continue;
        uint32_t *seen = &u->seen[slots[i]];
        if (*seen == written)
            GDN_REFUSE(error, "rows[%d] group %d checkpoint_slot = %d, want one that rows[%d] does not write", i, group,
                       slots[i], find_writer(users, step, slots[i], -1));
        if (*seen == kept)
            GDN_REFUSE(error, "rows[%d] group %d checkpoint_slot = %d, want another than rows[%d] has", i, group,
                       slots[i], find_checkpoint(step, slots, slots[i]));
        *seen = kept;
    }
    for (int32_t n = 0; n < 2; n++)
        for (int32_t k = 0; k < users[n].rows; k++) {
            int32_t row = gdn_slot_users_row(&users[n], k), slot = users[n].read[k];
            if (read_column[row] < 0 || u->seen[slot] != kept) continue;
            GDN_REFUSE(error, "rows[%d] group %d checkpoint_slot = %d, want one that rows[%d] does not read",
                       find_checkpoint(step, slots, slot), group, slot, row);
        }
    return GDN_OK;
}
