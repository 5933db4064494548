/* The strict rules' refusals: what gdnmeta.h calls a legal batch, beyond what every rule set wants. */
#ifndef GDN_STRICT_H
#define GDN_STRICT_H

#include "partition/state_indices.h"

/* One class of rows within a cache group: the slots it writes and reads. */
typedef struct gdn_slot_users {
    const int32_t *write, *read, *list; /* list: row numbers, NULL: every row */
    int32_t rows, columns;              /* several columns: those 0 .. num_draft_tokens are written */
    int32_t reads_back;                 /* rows that read, read the slot they write */
} gdn_slot_users;

static inline int32_t gdn_slot_users_row(const gdn_slot_users *k, int32_t i)
{
    return k->list ? k->list[i] : i;
}

static inline int32_t gdn_slot_users_written(const gdn_slot_users *k, const gdn_step *step, int32_t i)
{
    return k->columns > 1 ? step->num_draft_tokens[gdn_slot_users_row(k, i)] + 1 : 1;
}

/* Which column of which row writes a slot in this step: other numbers in every step and group spare the clearing.
 */
typedef struct gdn_uniqueness {
    uint32_t *seen; /* [most slots of any group] the last stamp; NULL: not wanted */
    uint32_t stamp; /* the first write's, of this step and group; the others' follow, and then one of all checkpoints */
    uint32_t writes;
    int32_t slots;
} gdn_uniqueness;

gdn_status gdn_uniqueness_new(gdn_uniqueness *u, const gdn_settings *settings);
void gdn_uniqueness_free(gdn_uniqueness *u);

/* A slot that a row writes is no other row's to write or read. Both users' slots are in range. */
gdn_status gdn_uniqueness_check(gdn_uniqueness *u, const gdn_slot_users users[2], const gdn_step *step, int32_t group,
                                gdn_error *error);

/* No row writes or reads the slot of a checkpoint, and no two checkpoints have one; after gdn_uniqueness_check of
 * these users, or without users. `slots` are given by row. */
gdn_status gdn_uniqueness_check_kept(gdn_uniqueness *u, const gdn_slot_users users[2], const gdn_step *step,
                                     const int32_t *slots, int32_t group, gdn_error *error);

/* Where checkpoints may stand, in a batch that has some; lengths and drafts are checked. */
gdn_status gdn_strict_checkpoints(const gdn_settings *settings, const gdn_partition *p, const gdn_step *step,
                                  gdn_error *error);

/* Their slots are slots of the group's pool. `slots` are given by row. */
gdn_status gdn_strict_kept_slots(const gdn_step *step, const int32_t *slots, int32_t num_slots, int32_t group,
                                 gdn_error *error);

/* Row fields and read columns; before any table is read. */
gdn_status gdn_strict_rows(const gdn_state_indices *indices, const gdn_settings *settings, const gdn_partition *p,
                             const gdn_step *step, gdn_error *error);

/* The slots that the rows name, after the gather. */
gdn_status gdn_strict_slots(const gdn_state_indices *indices, gdn_uniqueness *u, const gdn_settings *settings,
                              const gdn_partition *p, const gdn_step *step, gdn_error *error);

#endif
