/* gdn_tensor_export: tensors of a step, of another builder, and of nobody; what is exported is read to its ends, and
 * outlives the builder in whatever order the exports go. */
#include "case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXPORTS = 6 };

typedef struct exported {
    gdn_dlpack *versioned;
    gdn_dlpack_unversioned *unversioned;
    uint64_t sum; /* of what it held when it was made */
} exported;

static uint64_t sum_of(const gdn_dl_tensor *t)
{
    size_t elements = 1;
    for (int i = 0; i < t->ndim; i++) elements *= (size_t)t->shape[i];
    const unsigned char *at = (const unsigned char *)t->data + t->byte_offset;
    uint64_t sum = elements;
    for (size_t i = 0; i < elements * (t->bits / 8u); i++) sum = sum * 31 + at[i];
    return sum;
}

static const gdn_dl_tensor *tensor_of(const exported *e)
{
    return e->versioned ? &e->versioned->dl_tensor : &e->unversioned->dl_tensor;
}

/* One of the step's, whole or with a field that is anything at all. */
static gdn_tensor choose(const fuzz_case *c, fuzz_bytes *in)
{
    gdn_metadata m;
    gdn_tensor t;
    int32_t group = fuzz_between(in, 0, c->config.num_groups - 1);
    FUZZ_WANT(!gdn_metadata_group(c->builder, group, &m), "group %d is missing", group);
    size_t from = offsetof(gdn_metadata, spec_query_start_loc), last = offsetof(gdn_metadata, non_spec_conv_shift);
    size_t which = (size_t)fuzz_between(in, 0, (int32_t)((last - from) / sizeof t));
    memcpy(&t, (char *)&m + from + which * sizeof t, sizeof t);
    int32_t value = fuzz_wild(in);
    switch (fuzz_between(in, 0, 11)) {
    case 0: t.shape[0] = value; break;
    case 1: t.shape[1] = value; break;
    case 2: t.dtype = value; break;
    case 3: t.ndim = value; break;
    case 4: t.data = (void *)((uintptr_t)t.data + (uintptr_t)(intptr_t)value); break;
    case 5: t.data = (void *)((uintptr_t)t.data + (uintptr_t)fuzz_between(in, 0, 3) * 4); break;
    case 6: t.shape[0] += fuzz_between(in, 0, 3); break;
    default: break;
    }
    return t;
}

static int64_t done, refused;

__attribute__((destructor)) static void report(void)
{
    (void)fprintf(stderr, "fuzz: %lld exports, %lld refused\n", (long long)done, (long long)refused);
}

/* 1: it is exported. The core knows only where its tensors lie, so a moved one may be as well. */
static int export_one(const fuzz_case *c, fuzz_bytes *in, exported *e)
{
    gdn_tensor t = choose(c, in);
    *e = (exported){ 0 };
    gdn_status status = fuzz_between(in, 0, 1) ? gdn_tensor_export(c->builder, &t, &e->versioned)
                                               : gdn_tensor_export_unversioned(c->builder, &t, &e->unversioned);
    if (status) {
        FUZZ_WANT(!e->versioned && !e->unversioned, "a refused export is there");
        FUZZ_WANT(status == GDN_EINVAL && gdn_last_error(c->builder)[0], "an export gives %d without a reason", status);
        refused++;
        return 0;
    }
    done++;
    const gdn_dl_tensor *d = tensor_of(e);
    FUZZ_WANT(d->data == t.data && d->ndim == t.ndim && d->device_type == GDN_DL_CPU, "an export is of another tensor");
    for (int i = 0; i < d->ndim; i++) FUZZ_WANT(d->shape[i] == t.shape[i], "an export is of another shape");
    FUZZ_WANT(d->strides[d->ndim - 1] == 1 && (d->ndim == 1 || d->strides[0] == d->shape[1]), "an export has gaps");
    e->sum = sum_of(d);
    return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_bytes in = { data, data + size };
    exported list[EXPORTS];
    gdn_batch *batch = NULL;
    fuzz_case c;
    if (!fuzz_open(&c, &in)) return 0;
    if (gdn_batch_new(c.builder, &batch)) abort();
    int32_t region = 0;
    for (int32_t n = fuzz_between(&in, 1, batch->max_rows); n > 0; n--) fuzz_push(&c, &in, batch, NULL, &region);
    (void)gdn_build(c.builder, batch, NULL);
    gdn_batch_free(batch);
    int n = 0;
    while (n < EXPORTS && in.at < in.end) n += export_one(&c, &in, &list[n]);
    int freed = fuzz_between(&in, 0, 1);
    if (freed) fuzz_close(&c);
    for (int left = n; left > 0; left--) {
        exported *e = &list[fuzz_between(&in, 0, left - 1)];
        FUZZ_WANT(sum_of(tensor_of(e)) == e->sum, "an export has changed");
        if (e->versioned) e->versioned->deleter(e->versioned);
        else e->unversioned->deleter(e->unversioned);
        *e = list[left - 1];
    }
    if (!freed) fuzz_close(&c);
    return 0;
}
