/* Values of a row, looked up in the payload or on the device. Compiles as C and as CUDA. */
#ifndef GDN_ROW_VALUES_H
#define GDN_ROW_VALUES_H

#include "fill/output_rules.h"
#include "cuda/kernel_params.h"

GDN_RULE int32_t gdn_unpack(const unsigned char *payload, gdn_packed a, uint32_t i)
{
    const unsigned char *memory = payload + a.at;
    uint32_t v = 0;
    if (a.bits == 16) v = ((const uint16_t *)(const void *)memory)[i];
    else if (a.bits == 32) v = ((const uint32_t *)(const void *)memory)[i];
    else if (a.bits == 8) v = memory[i];
    else if (a.bits == 1) v = memory[i / 8] >> i % 8 & 1;
    return (int32_t)((uint32_t)a.base + i * (uint32_t)a.step + v);
}

GDN_RULE int32_t gdn_device_element(uint64_t array, int64_t i)
{
    return ((const int32_t *)(uintptr_t)array)[i];
}

/* Sticky: a fault is never cleared here, and any row that has it will do. */
GDN_RULE void gdn_fault(const gdn_head *h, const gdn_rows *c, const unsigned char *payload, uint32_t fault, uint32_t k)
{
    ((volatile int32_t *)(uintptr_t)h->faults)[fault] = gdn_unpack(payload, c->number, k) + 1;
}

GDN_RULE int32_t gdn_query_len(const gdn_rows *c, const unsigned char *payload, uint32_t k)
{
    return gdn_unpack(payload, c->start, k + 1) - gdn_unpack(payload, c->start, k);
}

GDN_RULE int32_t gdn_seq_len(const gdn_head *h, const gdn_rows *c, const unsigned char *payload, uint32_t k)
{
    int32_t i = gdn_unpack(payload, c->seq_index, k);
    return i < 0 ? 0 : gdn_device_element(h->seq_lens, i);
}

/* num_accepted_tokens as given. An index below 0 is the count itself, negative. */
GDN_RULE int32_t gdn_given_accepted(const gdn_head *h, const gdn_rows *c, const unsigned char *payload, uint32_t k)
{
    if (!h->accepted) return gdn_unpack(payload, c->accepted, k);
    int32_t i = gdn_unpack(payload, c->accepted_index, k);
    return i < 0 ? -i : gdn_device_element(h->accepted, i);
}

GDN_RULE int32_t gdn_accepted(const gdn_head *h, const gdn_rows *c, const unsigned char *payload, uint32_t k)
{
    int32_t a = gdn_given_accepted(h, c, payload, k);
    if (!h->strict || (a >= 1 && a <= h->most_accepted)) return a;
    gdn_fault(h, c, payload, GDN_FAULT_ACCEPTED, k);
    return GDN_PAD_ACCEPTED;
}

/* A block of a table on the device; the host has checked the table row. */
GDN_RULE int32_t gdn_table_cell(const gdn_head *h, const gdn_group *g, const gdn_rows *c, const unsigned char *payload,
                                uint32_t k, int64_t column)
{
    int32_t row = gdn_unpack(payload, c->table_row, k);
    if (row < 0) return h->pad_slot;
    if (column >= 0 && column < h->table_columns) return gdn_device_element(g->table, row * g->stride + column);
    gdn_fault(h, c, payload, GDN_FAULT_COLUMN, k);
    return h->pad_slot;
}

/* strict: a slot that the host has not seen. */
GDN_RULE int32_t gdn_checked_slot(const gdn_head *h, const gdn_group *g, const gdn_rows *c,
                                  const unsigned char *payload, uint32_t k, int32_t slot, int32_t lowest)
{
    if (!h->strict || (slot >= lowest && slot < g->num_slots)) return slot;
    gdn_fault(h, c, payload, GDN_FAULT_SLOT, k);
    return h->pad_slot;
}

/* Slot that row k writes, or keeps for its column-th token. */
GDN_RULE int32_t gdn_state(const gdn_head *h, const gdn_group *g, const gdn_rows *c, const unsigned char *payload,
                           uint32_t k, uint32_t column)
{
    if (!g->table) return gdn_unpack(payload, g->slots, c->slots + k * c->columns + column);
    if (gdn_unpack(payload, c->table_row, k) < 0) return h->pad_slot;
    int64_t at = h->repeat_column ? 0 : column;
    int32_t written = c->emitted == 1 || (int32_t)column < gdn_query_len(c, payload, k);
    if (h->align) {
        int32_t window = h->seq_lens ? gdn_window_start(gdn_seq_len(h, c, payload, k), h->block_size)
                                     : gdn_unpack(payload, c->window, k);
        at += window;
        if ((int64_t)window + h->last_column >= h->table_columns)
            at = h->table_columns; /* all of the window, or none */
    }
    int32_t slot = gdn_table_cell(h, g, c, payload, k, at);
    if (at >= h->table_columns) return slot;
    if (h->pad_slot && !h->strict && slot == GDN_NULL_SLOT && !gdn_query_len(c, payload, k)) return h->pad_slot;
    return gdn_checked_slot(h, g, c, payload, k, slot, written);
}

/* strict: slot of the row's current state. */
GDN_RULE int32_t gdn_read(const gdn_head *h, const gdn_group *g, const gdn_rows *c, const unsigned char *payload,
                          uint32_t k)
{
    int32_t column = gdn_unpack(payload, c->read_column, k), implied = column == GDN_READ_IMPLIED;
    if (column == -1) return GDN_NULL_SLOT;
    if (!g->table && !implied && c->reads_packed) return gdn_unpack(payload, g->slots, c->reads + k);
    if (implied && h->align) {
        int32_t seq_len = gdn_seq_len(h, c, payload, k), query_len = gdn_query_len(c, payload, k);
        if (seq_len <= query_len) return h->pad_slot; /* reported with the initial states */
        column = gdn_window_start(seq_len - query_len, h->block_size);
    } else if (implied) {
        int32_t a = gdn_given_accepted(h, c, payload, k);
        if (gdn_accepted(h, c, payload, k) != a) return h->pad_slot;
        column = a - 1;
    }
    if (!g->table && !implied) return gdn_unpack(payload, g->slots, c->slots + k * c->columns + (uint32_t)column);
    int32_t slot = h->pad_slot;
    if (g->table) {
        if (column >= h->table_columns) return gdn_table_cell(h, g, c, payload, k, column);
        slot = gdn_table_cell(h, g, c, payload, k, column);
    } else if ((uint32_t)column < c->columns) {
        slot = gdn_unpack(payload, g->slots, c->slots + k * c->columns + (uint32_t)column);
    }
    return gdn_checked_slot(h, g, c, payload, k, slot, 1);
}

/* Has the row a state? Under strict the host said so, and the device's length must agree. */
GDN_RULE uint8_t gdn_initial(const gdn_head *h, const gdn_rows *c, const unsigned char *payload, uint32_t k)
{
    uint8_t computed = (uint8_t)gdn_unpack(payload, c->computed, k);
    if (!h->seq_lens) return computed;
    int32_t seq_len = gdn_seq_len(h, c, payload, k), query_len = gdn_query_len(c, payload, k);
    uint8_t found = gdn_has_initial_state(seq_len, query_len);
    if (!h->strict) return found;
    if (seq_len < query_len || found != computed) gdn_fault(h, c, payload, GDN_FAULT_SEQ_LEN, k);
    return computed;
}

/* Slot that row k keeps its checkpoint in. Under strict the host gives it, wherever the tables are. */
GDN_RULE int32_t gdn_kept_state(const gdn_head *h, const gdn_group *g, const gdn_rows *c, const unsigned char *payload,
                                uint32_t k)
{
    if (!g->table) return gdn_unpack(payload, g->slots, h->kept_slots + k);
    if (h->strict) return gdn_unpack(payload, g->slots, k);
    int32_t column = gdn_unpack(payload, h->kept_column, k);
    return column < 0 ? h->pad_slot : gdn_table_cell(h, g, c, payload, k, column);
}

GDN_RULE int64_t gdn_kept_row(const gdn_head *h, const unsigned char *payload, uint32_t k)
{
    int32_t prefill = (int32_t)k - h->kept_others;
    if (prefill < 0) return 0;
    return gdn_checkpoint_row(gdn_unpack(payload, h->kept_start, (uint32_t)prefill),
                              gdn_unpack(payload, h->kept_offset, k), h->kept_every);
}

#endif
