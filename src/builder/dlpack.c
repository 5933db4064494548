/* Tensors as DLPack's managed tensors: one block each, which holds the device until it is deleted. */
#include "builder/one_thread.h"

#include <stddef.h>
#include <stdlib.h>

_Static_assert(sizeof(gdn_dl_tensor) == 48 && sizeof(gdn_dlpack_unversioned) == 64 && sizeof(gdn_dlpack) == 80 &&
                   offsetof(gdn_dlpack, flags) == 24,
               "DLPack's layout");

static const uint8_t CODES[] = { [GDN_INT32] = GDN_DL_INT, [GDN_INT64] = GDN_DL_INT, [GDN_BOOL] = GDN_DL_BOOL,
                                [GDN_UINT8] = GDN_DL_UINT };
static const uint8_t BITS[] = { [GDN_INT32] = 32, [GDN_INT64] = 64, [GDN_BOOL] = 8, [GDN_UINT8] = 8 };

typedef struct export {
    union {
        gdn_dlpack versioned;
        gdn_dlpack_unversioned unversioned;
    } public; /* first: what consumers hold is an export * */
    int64_t shape[2], strides[2];
} export;

/* The tensor may be the caller's own, or of another builder. */
static gdn_status check(gdn_builder *b, const gdn_tensor *t)
{
    gdn_error *error = &b->error;
    if (!t->data) return gdn_fail(error, GDN_EINVAL, "the step has no such tensor: tensor.data is NULL");
    if (t->dtype < GDN_INT32 || t->dtype > GDN_UINT8)
        return gdn_fail(error, GDN_EINVAL, "tensor.dtype = %d, want %d .. %d", t->dtype, GDN_INT32, GDN_UINT8);
    if (t->ndim < 1 || t->ndim > 2 || (t->ndim == 1 && t->shape[1] != 1))
        return gdn_fail(error, GDN_EINVAL, "tensor.ndim = %d with shape[1] = %d, want 2, or 1 with 1", t->ndim,
                        t->shape[1]);
    if (t->shape[0] < 0 || t->shape[1] < 0)
        return gdn_fail(error, GDN_EINVAL, "tensor.shape = [%d, %d], want both >= 0", t->shape[0], t->shape[1]);

    size_t at = (size_t)((uintptr_t)t->data - (uintptr_t)b->arena.base);
    uint64_t elements = (uint64_t)t->shape[0] * (uint64_t)t->shape[1]; /* in bytes it might pass 2^64 */
    if (at > b->arena.bytes || elements > (b->arena.bytes - at) / (BITS[t->dtype] / 8u))
        return gdn_fail(error, GDN_EINVAL, "%llu elements at %p are not within the builder's tensors",
                        (unsigned long long)elements, t->data);
    if (at % (BITS[t->dtype] / 8u))
        return gdn_fail(error, GDN_EINVAL, "tensor.data = %p, want a multiple of %d bytes", t->data,
                        BITS[t->dtype] / 8);
    return GDN_OK;
}

static void delete_versioned(gdn_dlpack *self)
{
    gdn_device *device = self->manager_ctx;
    free(self);
    gdn_device_drop(device);
}

static void delete_unversioned(gdn_dlpack_unversioned *self)
{
    gdn_device *device = self->manager_ctx;
    free(self);
    gdn_device_drop(device);
}

static gdn_dl_tensor describe(export *e, const gdn_device *device, const gdn_tensor *t)
{
    for (int i = 0; i < t->ndim; i++) e->shape[i] = t->shape[i];
    e->strides[0] = t->ndim == 1 ? 1 : t->shape[1];
    e->strides[1] = 1;
    int on_cpu = device->ordinal == GDN_DEVICE_CPU;
    return (gdn_dl_tensor){ .data = t->data, .device_type = on_cpu ? GDN_DL_CPU : GDN_DL_CUDA,
                            .device_id = on_cpu ? 0 : device->ordinal, .ndim = t->ndim, .code = CODES[t->dtype],
                            .bits = BITS[t->dtype], .lanes = 1, .shape = e->shape, .strides = e->strides };
}

static gdn_status export_new(gdn_builder *b, const gdn_tensor *t, export **out)
{
    gdn_status status = gdn_device_is_ours(b->device, &b->error);
    if (!status) status = check(b, t);
    if (status) return status;
    *out = calloc(1, sizeof **out);
    if (!*out) return gdn_fail(&b->error, GDN_ENOMEM, "no memory for an exported tensor");
    gdn_device_hold(b->device);
    return GDN_OK;
}

/* What both forms begin with: checks, and the memory. out: where the caller wants it. */
static gdn_status begin(gdn_builder *b, const gdn_tensor *tensor, const void *out, export **e)
{
    if (!b || gdn_busy(b)) return GDN_EINVAL;
    if (!tensor || !out)
        return gdn_done(b, gdn_fail(&b->error, GDN_EINVAL, "%s = NULL, want a pointer", tensor ? "out" : "tensor"));
    return gdn_done(b, export_new(b, tensor, e));
}

gdn_status gdn_tensor_export(gdn_builder *b, const gdn_tensor *tensor, gdn_dlpack **out)
{
    export *e;
    gdn_status status = begin(b, tensor, out, &e);
    if (status) return status;
    e->public.versioned = (gdn_dlpack){ .major = GDN_DL_MAJOR, .minor = GDN_DL_MINOR, .manager_ctx = b->device,
                                      .deleter = delete_versioned, .flags = GDN_DL_READ_ONLY,
                                      .dl_tensor = describe(e, b->device, tensor) };
    *out = &e->public.versioned;
    return GDN_OK;
}

gdn_status gdn_tensor_export_unversioned(gdn_builder *b, const gdn_tensor *tensor, gdn_dlpack_unversioned **out)
{
    export *e;
    gdn_status status = begin(b, tensor, out, &e);
    if (status) return status;
    e->public.unversioned = (gdn_dlpack_unversioned){ .dl_tensor = describe(e, b->device, tensor),
                                                    .manager_ctx = b->device,
                                                    .deleter = delete_unversioned };
    *out = &e->public.unversioned;
    return GDN_OK;
}
