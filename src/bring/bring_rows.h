/* What a row needs brought, from the index tensors alone: see gdn_bring_states. Compiles as C and as CUDA. */
#ifndef GDN_BRING_ROWS_H
#define GDN_BRING_ROWS_H

#include "bring/bring_plan.h"
#include "base/rule.h"

/* Slot `from` goes to slot `to`, the window `shift` tokens to the left. to 0: nothing is to be done. */
typedef struct gdn_brought {
    int32_t from, to, shift;
} gdn_brought;

GDN_RULE int32_t gdn_index_at(uint64_t array, uint64_t i)
{
    return ((const int32_t *)(uintptr_t)array)[i];
}

GDN_RULE int64_t gdn_boundary_at(const gdn_bring_plan *p, uint64_t i)
{
    return p->wide ? ((const int64_t *)(uintptr_t)p->boundaries)[i] : gdn_index_at(p->boundaries, i);
}

/* Padding, fresh rows, and what a device put in place of a bad slot have none; nothing beyond the pool is read. */
GDN_RULE int32_t gdn_has_state(const gdn_bring_plan *p, int32_t slot)
{
    return slot > 0 && slot < p->num_slots;
}

/* Rows count from the non-spec ones on. */
GDN_RULE gdn_brought gdn_bring_row(const gdn_bring_plan *p, uint32_t row)
{
    gdn_brought nothing = { 0, 0, 0 }, found;
    uint32_t spec = row >= p->rows[0].rows;
    const gdn_bring_rows *c = &p->rows[spec];
    uint64_t k = spec ? row - p->rows[0].rows : row;
    found.from = gdn_index_at(c->read, k);
    found.to = gdn_index_at(c->write, k * c->columns);
    found.shift = p->windows ? gdn_index_at(c->shift, k) : 0;
    if (!gdn_has_state(p, found.from)) return nothing;
    if (spec && p->spec_rows == GDN_BRING_ACCEPTED) {
        int64_t accepted = gdn_index_at(p->accepted, k);
        if (accepted < 1 || accepted > c->columns) return nothing;
        int32_t looked_at = gdn_index_at(c->write, k * c->columns + (uint64_t)accepted - 1);
        if (looked_at == found.from) return nothing;
        found.shift = 0; /* the kernel does that */
        if (!p->windows) {
            if (accepted > gdn_boundary_at(p, k + 1) - gdn_boundary_at(p, k)) return nothing; /* not written */
            found.to = looked_at;
        }
    } else if (found.shift > 0 && p->in_first) {
        found.from = found.to;
    }
    if (!gdn_has_state(p, found.to) || (found.from == found.to && !found.shift)) return nothing;
    if (p->windows && (found.shift < 0 || (uint32_t)found.shift >= p->length)) return nothing;
    return found;
}

GDN_RULE uint32_t gdn_bring_rows_in_all(const gdn_bring_plan *p)
{
    return p->rows[0].rows + p->rows[1].rows;
}

#endif
