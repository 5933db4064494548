/* Partition and slots in, launch out: which arrays the elements of this step need. */
#include "cuda/pack_launch.h"

#include "fill/output_rules.h"
#include "partition/bucket.h"

#include <string.h>

_Static_assert(sizeof(gdn_head) % 16 == 0, "payloads are loaded 16 bytes at a time");
_Static_assert(sizeof(gdn_group) % 8 == 0, "payloads are loaded 16 bytes at a time");
_Static_assert((int)GDN_READ_IMPLIED == (int)GDN_READ_DEFAULT,
               "kernel_params.h cannot include gdnmeta.h: its GDN_READ_IMPLIED is GDN_READ_DEFAULT there");

/* values[list[k]], or values themselves where the class is every row. */
static const int32_t *in_class_order(gdn_payload *y, const int32_t *values, const int32_t *list, uint32_t n)
{
    if (!list) return values;
    int32_t *out = gdn_payload_take(y, n);
    for (uint32_t k = 0; k < n; k++) out[k] = values[list[k]];
    return out;
}

/* The rows of a class while it is planned. */
typedef struct source {
    const gdn_fill_inputs *in;
    const int32_t *list; /* NULL: every row */
    uint32_t n;
} source;

static uint32_t row_of(const source *s, uint32_t k)
{
    return s->list ? (uint32_t)s->list[k] : k;
}

static gdn_packed pack_computed(gdn_payload *y, const source *s)
{
    const gdn_step *step = s->in->step;
    int32_t *out = gdn_payload_take(y, s->n);
    for (uint32_t k = 0; k < s->n; k++) {
        uint32_t i = row_of(s, k);
        out[k] = gdn_has_initial_state(step->seq_len[i], step->query_len[i]);
    }
    return gdn_pack(&y->packer, out, s->n);
}

/* Elements of a device array or table; -1 for padding that the build made, which has none. */
static gdn_packed pack_index(gdn_payload *y, const source *s, const int32_t *given, const int32_t *counts)
{
    int32_t *out = gdn_payload_take(y, s->n), end = s->in->step->table_rows;
    for (uint32_t k = 0; k < s->n; k++) {
        int32_t i = (int32_t)row_of(s, k), index = given ? given[i] : -1;
        int is_count = counts && index == GDN_INDEX_GIVEN;
        out[k] = i >= end ? -1 : is_count ? -counts[i] : index < 0 ? i : index;
    }
    return gdn_pack_ramp(&y->packer, out, s->n);
}

static int any_table(const gdn_fill_inputs *in, int on_device)
{
    for (int32_t g = 0; g < in->settings->config.num_groups; g++)
        if (!in->step->null_slots && in->step->tables[g].on_device == on_device) return 1;
    return 0;
}

/* strict: read columns, and whether the slots there must be packed or stand among the row's others. */
static void plan_reads(gdn_payload *y, gdn_rows *c, const source *s)
{
    const gdn_fill_inputs *in = s->in;
    const gdn_step *step = in->step;
    int32_t align = in->settings->config.mamba_cache_mode == GDN_CACHE_ALIGN, highest = -1, implied = 0;
    int from_device = !step->null_slots && (align ? step->device_seq_lens != NULL : step->device_accepted != NULL);
    int32_t *out = gdn_payload_take(y, s->n);
    for (uint32_t k = 0; k < s->n; k++) {
        uint32_t i = row_of(s, k);
        int32_t column = step->null_slots ? 0 : in->indices->read_column[i]; /* -1 would be a fresh row */
        if (from_device && column >= 0 && step->read_column[i] == GDN_READ_DEFAULT) {
            out[k] = GDN_READ_IMPLIED;
            implied = 1;
            continue;
        }
        out[k] = column;
        highest = column > highest ? column : highest;
    }
    c->read_column = gdn_pack(&y->packer, out, s->n);
    if (!any_table(in, 0)) return;
    /* Any of the first S + 1 slots may turn out to be the one to read. */
    if (implied && !align) c->columns = (uint32_t)in->settings->config.num_speculative_tokens + 1;
    c->reads_packed = align || highest >= (int32_t)c->columns;
}

static void plan_class(gdn_payload *y, gdn_rows *c, const source *s, const int32_t *start)
{
    const gdn_fill_inputs *in = s->in;
    const gdn_partition *p = in->partition;
    const gdn_step *step = in->step;
    int strict = in->settings->config.rules == GDN_RULES_STRICT, on_device = any_table(in, 1);
    int spec = c == &y->launch->head.classes[GDN_SPEC];

    c->rows = s->n;
    c->columns = c->emitted = spec ? (uint32_t)p->state_columns : 1;
    c->start = gdn_pack_ramp(&y->packer, start, s->n + 1);
    if (p->mixed || (p->has_bucket && in->settings->config.num_speculative_tokens > 0))
        c->first = gdn_pack_ramp(&y->packer, in_class_order(y, p->query_start, s->list, s->n), s->n);
    if (strict || (!spec && p->has_prefills)) c->computed = pack_computed(y, s);
    if (strict) plan_reads(y, c, s);
    if ((strict || spec) && step->device_accepted)
        c->accepted_index = pack_index(y, s, step->accepted_index, step->given_accepted);
    else if (strict || spec)
        c->accepted = gdn_pack(&y->packer, in_class_order(y, step->num_accepted_tokens, s->list, s->n), s->n);
    if (step->device_seq_lens) c->seq_index = pack_index(y, s, step->seq_index, NULL);
    if (on_device) c->table_row = pack_index(y, s, step->table_row, NULL);
    if (on_device && in->settings->windowed && !step->device_seq_lens)
        c->window = gdn_pack_ramp(&y->packer, in_class_order(y, in->indices->window, s->list, s->n), s->n);
    if (on_device || step->device_seq_lens || step->device_accepted) c->number = pack_index(y, s, NULL, NULL);
}

static gdn_packed pack_mask(gdn_payload *y, const gdn_step *step, uint32_t n)
{
    int32_t *out = gdn_payload_take(y, n);
    for (uint32_t i = 0; i < n; i++) out[i] = step->num_draft_tokens[i] >= 0;
    return gdn_pack(&y->packer, out, n);
}

static void plan_tables(gdn_payload *y, gdn_head *h, const gdn_partition *p)
{
    uint32_t rows = (uint32_t)(p->num_non_spec - p->chunk_row);
    const int32_t *start = p->chunk_start;
    h->tile_start = gdn_pack_ramp(&y->packer, p->tile_start, (uint32_t)p->num_non_spec);
    h->chunk_start = gdn_pack_ramp(&y->packer, start, rows + 1);

    int32_t *owner = gdn_payload_take(y, rows);
    uint32_t n = 0;
    for (uint32_t k = 0; k < rows; k++)
        if (start[k + 1] > start[k]) owner[n++] = start[k];
    h->chunk_rows = n;
    h->chunk_owner = n == rows ? h->chunk_start : gdn_pack_ramp(&y->packer, owner, n);
}

static void plan_bucket(gdn_head *h, const gdn_partition *p)
{
    h->bucket_rows = p->bucket_rows;
    h->bucket_tokens = p->bucket_tokens;
    h->tokens = p->tokens;
    h->prefills_from = p->prefills_from;
    gdn_live_counts(p, h->live_counts);
}

static void plan_checkpoints(gdn_payload *y, gdn_head *h, const gdn_fill_inputs *in)
{
    const gdn_partition *p = in->partition;
    uint32_t n = (uint32_t)p->num_kept_rows;
    h->kept_offset = gdn_pack(&y->packer, p->checkpoint_offset, n);
    h->kept_every = p->checkpoint_every;
    h->kept_others = p->num_kept_rows - (p->num_non_spec - p->first_prefill);
    if (p->checkpoint_every)
        h->kept_start =
            gdn_pack_ramp(&y->packer, p->checkpoint_start, (uint32_t)(p->num_non_spec - p->first_prefill) + 1);
    if (in->settings->takes_checkpoints || !any_table(in, 1)) return;
    int32_t *column = gdn_payload_take(y, n);
    for (uint32_t k = 0; k < n; k++) column[k] = p->checkpoint_offset[k] ? p->checkpoint_column[k] : -1;
    h->kept_column = gdn_pack(&y->packer, column, n);
}

static inline const int32_t *host_blocks(const gdn_step *step, int32_t g, uint32_t row)
{
    int32_t r = step->table_row[row];
    const gdn_table *t = r < 0 ? &step->own[g] : &step->tables[g];
    return t->data + (int64_t)(r < 0 ? ~r : r) * t->stride;
}

/* A group's slots in the order of gdn_rows: to write of spec and non-spec rows, to read likewise. */
static uint32_t group_pieces(gdn_payload *y, const gdn_fill_inputs *in, int32_t g, const source *non_spec,
                             gdn_piece *out)
{
    const gdn_rows *spec = &y->launch->head.classes[GDN_SPEC], *rest = &y->launch->head.classes[GDN_NON_SPEC];
    const gdn_state_indices *indices = in->indices;
    const int32_t *slots = indices->slots + (size_t)g * indices->group_stride, *written = slots + indices->non_spec;
    if (rest->columns > 1) {
        size_t columns = rest->columns;
        int32_t *wide = y->wide + (size_t)g * (size_t)in->settings->config.max_rows * columns;
        for (uint32_t k = 0; k < rest->rows; k++)
            memcpy(wide + k * columns, host_blocks(in->step, g, row_of(non_spec, k)), columns * sizeof *wide);
        written = wide;
    }
    uint32_t n = 0;
    if (spec->rows)
        out[n++] = (gdn_piece){ .values = slots, .n = spec->rows * spec->columns, .skip = spec->slots };
    if (rest->rows) out[n++] = (gdn_piece){ .values = written, .n = rest->rows * rest->columns, .skip = rest->slots };
    if (spec->rows && spec->reads_packed)
        out[n++] = (gdn_piece){ .values = slots + indices->spec_read, .n = spec->rows, .skip = spec->reads };
    if (rest->rows && rest->reads_packed)
        out[n++] = (gdn_piece){ .values = slots + indices->non_spec_read, .n = rest->rows, .skip = rest->reads };
    if (in->partition->has_checkpoints)
        out[n++] = (gdn_piece){ .values = slots + indices->checkpoint, .n = (uint32_t)in->partition->num_kept_rows,
                                .skip = y->launch->head.kept_slots };
    return n;
}

static void plan_groups(gdn_payload *y, const gdn_fill_inputs *in, const source *non_spec)
{
    gdn_rows *spec = &y->launch->head.classes[GDN_SPEC], *rest = &y->launch->head.classes[GDN_NON_SPEC];
    spec->slots = 0;
    rest->slots = spec->rows * spec->columns;
    spec->reads = rest->slots + rest->rows * rest->columns;
    rest->reads = spec->reads + (spec->reads_packed ? spec->rows : 0);
    uint32_t total = rest->reads + (rest->reads_packed ? rest->rows : 0);
    y->launch->head.kept_slots = total;
    total += (uint32_t)in->partition->num_kept_rows;

    for (int32_t g = 0; g < in->settings->config.num_groups; g++) {
        const gdn_table *t = &in->step->tables[g];
        gdn_group *record = &y->groups[g];
        *record = (gdn_group){ .num_slots = in->settings->num_slots[g] };
        if (in->step->null_slots) {
            record->slots.base = in->settings->config.pad_slot_id; /* of every slot */
            continue;
        }
        if (t->on_device) {
            record->table = (uint64_t)(uintptr_t)t->data;
            record->stride = t->stride;
            if (in->settings->takes_checkpoints)
                record->slots = gdn_pack(&y->packer,
                                         in->indices->slots + (size_t)g * in->indices->group_stride +
                                             in->indices->checkpoint,
                                         (uint32_t)in->partition->num_kept_rows);
            continue;
        }
        if (!total) continue;
        gdn_piece pieces[GDN_GROUP_PIECES] = { 0 };
        uint32_t n = group_pieces(y, in, g, non_spec, pieces);
        record->slots = gdn_pack_joined(&y->packer, pieces, n, total);
    }
}

void gdn_payload_plan(gdn_payload *y, gdn_arena *arena, const gdn_fill_inputs *in)
{
    const gdn_config *c = &in->settings->config;
    const gdn_partition *p = in->partition;
    const gdn_step *step = in->step;
    gdn_head *h = &y->launch->head;
    source spec = { in, p->spec_rows, (uint32_t)p->num_spec },
           rest = { in, p->non_spec_rows, (uint32_t)p->num_non_spec };

    memset(h, 0, offsetof(gdn_head, outputs));
    h->classes[GDN_SPEC].emitted = 1; /* where the class has no rows, its old slots may have to be cleared */
    h->classes[GDN_NON_SPEC].emitted = 1;
    y->packer.num_pieces = 0;
    y->free = y->work;
    y->packer.bytes = gdn_up16((size_t)c->num_groups * sizeof *y->groups);
    h->seq_lens = (uint64_t)(uintptr_t)step->device_seq_lens;
    h->accepted = (uint64_t)(uintptr_t)step->device_accepted;
    h->strict = c->rules == GDN_RULES_STRICT;
    h->align = in->settings->windowed;
    h->block_size = c->mamba_block_size;
    h->last_column = c->num_speculative_blocks;
    h->table_columns = step->tables ? step->tables[0].cols : 0;
    h->repeat_column = p->repeat_column;
    h->most_accepted = c->num_speculative_tokens + 1;
    h->num_decode_tokens = p->num_decode_tokens;
    h->pad_slot = c->pad_slot_id;

    if (p->has_bucket) plan_bucket(h, p);
    if (p->speculative || p->has_bucket) plan_class(y, &h->classes[GDN_SPEC], &spec, p->spec_start);
    if (p->speculative && !p->has_bucket)
        h->mask = pack_mask(y, step, (uint32_t)(p->for_graph ? p->num_spec : p->rows));
    if (!p->speculative || p->mixed || p->has_bucket)
        plan_class(y, &h->classes[GDN_NON_SPEC], &rest, p->non_spec_start);
    if (p->has_prefills) plan_tables(y, h, p);
    if (p->has_checkpoints) plan_checkpoints(y, h, in);
    plan_groups(y, in, &rest);
    gdn_payload_plan_outputs(y, arena, in);
}

void gdn_payload_write(const gdn_payload *y, unsigned char *to)
{
    memcpy(to, y->groups, y->num_groups * sizeof *y->groups);
    gdn_pack_write(&y->packer, to);
}

static size_t head_bytes(const gdn_head *h)
{
    return offsetof(gdn_head, outputs) + h->num_outputs * sizeof *h->outputs;
}

int gdn_payload_is_filled(const gdn_payload *y)
{
    const gdn_head *h = &y->launch->head;
    return y->filled_from && !memcmp(h, &y->filled, head_bytes(h)) &&
           !memcmp(y->groups, y->filled_from, y->num_groups * sizeof *y->groups) &&
           gdn_pack_is_at(&y->packer, y->filled_from);
}

void gdn_payload_keep(gdn_payload *y, const unsigned char *from)
{
    memcpy(&y->filled, &y->launch->head, head_bytes(&y->launch->head));
    y->filled_from = from;
}
