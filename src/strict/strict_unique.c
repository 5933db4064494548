/* One writer a slot: kernels of one launch run in any order, so a slot that a row writes must not be
 * written or read by another. A slot that is only read may be shared. */
#include "strict/strict.h"

#include <stdlib.h>
#include <string.h>

gdn_status gdn_uniqueness_new(gdn_uniqueness *u, const gdn_settings *settings)
{
    const gdn_config *c = &settings->config;
    if (c->rules != GDN_RULES_STRICT || !c->check_unique) return GDN_OK;
    u->slots = gdn_largest_pool(settings);
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

enum { FEW_WRITES = 8 };

static uint32_t count_writes(const gdn_slot_users *k)
{
    return (uint32_t)k->rows * (uint32_t)k->columns;
}

/* Numbers that no step before has stamped slots with. */
static void next_stamps(gdn_uniqueness *u, const gdn_slot_users users[2])
{
    uint64_t next = (uint64_t)u->stamp + u->writes + 1;
    u->writes = count_writes(&users[0]) + count_writes(&users[1]);
    if (next + u->writes > UINT32_MAX) {
        memset(u->seen, 0, (size_t)u->slots * sizeof *u->seen);
        next = 1;
    }
    u->stamp = (uint32_t)next;
}

/* Stamps the slots that rows write, a number for each. Nothing branches on drafts, which no processor predicts:
 * columns that are not written stamp the null slot. Slots are looked up in front of the stores of a few rows, for a
 * load may have to wait until the addresses of all stores before it are known. */
static inline void stamp_writes(uint32_t *seen, const gdn_slot_users *k, const gdn_step *step, uint32_t stamp,
                               int32_t columns, int32_t few)
{
    const int32_t *write = k->write;
    int32_t at[FEW_WRITES], i = 0; /* `few` rows fit, or there are not so many */
    for (; i + few <= k->rows; i += few, write += few * columns) {
        for (int32_t r = 0; r < few; r++) {
            int32_t written = gdn_slot_users_written(k, step, i + r);
            for (int32_t c = 0; c < columns; c++) at[r * columns + c] = write[r * columns + c] & -(c < written);
        }
        for (int32_t j = 0; j < few * columns; j++) seen[at[j]] = stamp++;
    }
    for (; i < k->rows; i++, write += columns) {
        int32_t written = gdn_slot_users_written(k, step, i);
        for (int32_t c = 0; c < columns; c++) seen[write[c] & -(c < written)] = stamp++;
    }
}

/* Does some written slot bear the stamp of another write? */
static inline uint32_t find_other_stamps(const uint32_t *seen, const gdn_slot_users *k, const gdn_step *step,
                                         uint32_t stamp, int32_t columns)
{
    const int32_t *write = k->write;
    uint32_t other = 0;
    for (int32_t i = 0; i < k->rows; i++, write += columns) {
        int32_t written = gdn_slot_users_written(k, step, i);
        for (int32_t c = 0; c < columns; c++) other |= (seen[write[c]] ^ stamp++) & (uint32_t)-(c < written);
    }
    return other;
}

/* Literal numbers of columns make loops of registers. */
static void stamp_written(gdn_uniqueness *u, const gdn_slot_users *k, const gdn_step *step, uint32_t stamp)
{
    if (k->columns == 1) stamp_writes(u->seen, k, step, stamp, 1, FEW_WRITES);
    else if (k->columns == 4) stamp_writes(u->seen, k, step, stamp, 4, FEW_WRITES / 4);
    else stamp_writes(u->seen, k, step, stamp, k->columns, INT32_MAX);
}

static uint32_t find_taken(const gdn_uniqueness *u, const gdn_slot_users *k, const gdn_step *step, uint32_t stamp)
{
    return k->columns == 1   ? find_other_stamps(u->seen, k, step, stamp, 1)
           : k->columns == 4 ? find_other_stamps(u->seen, k, step, stamp, 4)
                             : find_other_stamps(u->seen, k, step, stamp, k->columns);
}

/* Is a slot that row i reads, whose writes have stamps from `own` on, written by another row? */
static inline uint32_t is_foreign(const gdn_uniqueness *u, const gdn_slot_users *k, int32_t i, uint32_t own)
{
    uint32_t stamp = u->seen[k->read[i]], columns = (uint32_t)k->columns;
    return (stamp - u->stamp < u->writes) & (stamp - (own + (uint32_t)i * columns) >= columns);
}

/* The first row that reads a slot which another one writes, or none: k->rows. Rows that start from zeros read the null
 * slot. */
static int32_t find_foreign_read(const gdn_uniqueness *u, const gdn_slot_users *k, uint32_t own)
{
    uint32_t any = 0;
    for (int32_t i = 0; i < k->rows; i++) any |= is_foreign(u, k, i, own);
    int32_t first = any ? 0 : k->rows;
    while (first < k->rows && !is_foreign(u, k, first, own)) first++;
    return first;
}

/* Names the first slot that is written twice. */
static gdn_status refuse_taken(gdn_uniqueness *u, const gdn_slot_users users[2], const gdn_step *step, int32_t group,
                               gdn_error *error)
{
    next_stamps(u, users);
    for (int32_t n = 0; n < 2; n++)
        for (int32_t i = 0; i < users[n].rows; i++)
            for (int32_t c = 0; c < gdn_slot_users_written(&users[n], step, i); c++) {
                int32_t slot = users[n].write[i * users[n].columns + c];
                if (u->seen[slot] == u->stamp) return refuse_second_writer(users, step, group, slot, error);
                u->seen[slot] = u->stamp;
            }
    return GDN_OK;
}

gdn_status gdn_uniqueness_check(gdn_uniqueness *u, const gdn_slot_users users[2], const gdn_step *step, int32_t group,
                                gdn_error *error)
{
    next_stamps(u, users);
    const uint32_t first[2] = { u->stamp, u->stamp + count_writes(&users[0]) };
    for (int32_t n = 0; n < 2; n++) stamp_written(u, &users[n], step, first[n]);
    if (find_taken(u, &users[0], step, first[0]) | find_taken(u, &users[1], step, first[1]))
        return refuse_taken(u, users, step, group, error);
    u->seen[0] = u->stamp - 1; /* of no write */
    for (int32_t n = 0; n < 2; n++) {
        const gdn_slot_users *k = &users[n];
        int32_t i = k->reads_back ? k->rows : find_foreign_read(u, k, first[n]);
        if (i == k->rows) continue;
        int32_t row = gdn_slot_users_row(k, i), slot = k->read[i];
        GDN_REFUSE(error, "rows[%d] group %d reads block %d, want one that rows[%d] does not write", row, group, slot,
                   find_writer(users, step, slot, row));
    }
    return GDN_OK;
}

/* The first row that asks for a checkpoint in a slot; some row does. */
static int32_t find_checkpoint(const gdn_step *step, const int32_t *slots, int32_t slot)
{
    int32_t i = 0;
    while (i < step->table_rows - 1 && (!step->checkpoint_len[i] || slots[i] != slot)) i++;
    return i;
}

gdn_status gdn_uniqueness_check_kept(gdn_uniqueness *u, const gdn_slot_users users[2], const gdn_step *step,
                                     const int32_t *slots, int32_t group, gdn_error *error)
{
    if (!users[0].rows && !users[1].rows) next_stamps(u, users);
    uint32_t kept = u->stamp + u->writes;
    for (int32_t i = 0; i < step->table_rows; i++) {
        if (!step->checkpoint_len[i]) continue;
        uint32_t *seen = &u->seen[slots[i]];
        if (*seen - u->stamp < u->writes)
            GDN_REFUSE(error, "rows[%d] group %d checkpoint_slot = %d, want one that rows[%d] does not write", i, group,
                       slots[i], find_writer(users, step, slots[i], -1));
        if (*seen == kept)
            GDN_REFUSE(error, "rows[%d] group %d checkpoint_slot = %d, want another than rows[%d] has", i, group,
                       slots[i], find_checkpoint(step, slots, slots[i]));
        *seen = kept;
    }
    for (int32_t n = 0; n < 2; n++)
        for (int32_t k = 0; k < users[n].rows; k++) {
            int32_t slot = users[n].read[k]; /* of rows that start from zeros the null slot, which keeps nothing */
            if (u->seen[slot] != kept) continue;
            GDN_REFUSE(error, "rows[%d] group %d checkpoint_slot = %d, want one that rows[%d] does not read",
                       find_checkpoint(step, slots, slot), group, slot, gdn_slot_users_row(&users[n], k));
        }
    return GDN_OK;
}
