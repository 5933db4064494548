/* What runs on the device: a fill is one launch with its inputs inside, a check another one after it. */
#include "cuda/cuda_device.h"

#include "cuda/image.h"

static const char *const KERNEL_NAMES[GDN_CUDA_KERNELS] = { "gdn_fill_small", "gdn_fill_medium", "gdn_fill_large" };
static const size_t KERNEL_BYTES[GDN_CUDA_KERNELS] = { GDN_SMALL, GDN_MEDIUM, GDN_LARGE };
static const char *const BRING_NAMES[] = { "gdn_bring_all_states", "gdn_bring_all_windows" };

gdn_status gdn_cuda_refuse_capturing(gdn_cuda *d, void *stream, const char *advice, gdn_error *error)
{
    int capturing = 0;
    gdn_cu r = d->driver.cuStreamIsCapturing(stream, &capturing);
    if (r) GDN_DRIVER_FAIL(&d->driver, error, r, "cuStreamIsCapturing");
    if (capturing) return gdn_fail(error, GDN_EINVAL, "stream is capturing: %s", advice);
    return GDN_OK;
}

static gdn_status launch(gdn_cuda *d, int kernel, uint32_t blocks, uint64_t ring, uint32_t shared_bytes, void *stream,
                         gdn_error *error)
{
    void *arguments[] = { d->payload.launch, &ring, &shared_bytes };
    gdn_cu r = d->driver.cuLaunchKernel(d->kernels[kernel], blocks, 1, 1, GDN_THREADS, 1, 1, shared_bytes, stream,
                                        arguments, NULL);
    if (r) GDN_DRIVER_FAIL(&d->driver, error, r, "cuLaunchKernel of %u blocks", blocks);
    d->common.counters.launches++;
    return GDN_OK;
}

/* The payload inside the launch: of the three sizes the smallest that holds it. */
static gdn_status fill_inside(gdn_cuda *d, void *stream, gdn_error *error)
{
    gdn_payload *y = &d->payload;
    int kernel = 0;
    while (y->packer.bytes > KERNEL_BYTES[kernel] - sizeof(gdn_head)) kernel++;
    gdn_payload_write(y, y->launch->payload);
    gdn_status status = launch(d, kernel, y->blocks, 0, y->shared_bytes, stream, error);
    if (!status) gdn_payload_keep(y, y->launch->payload);
    return status;
}

static gdn_status fill_from_ring(gdn_cuda *d, void *stream, gdn_error *error)
{
    gdn_payload *y = &d->payload;
    int32_t buffer = 0;
    gdn_status status = gdn_ring_take(&d->ring, &d->driver, &buffer, &d->common.counters.ring_waits, error);
    if (status) return status;
    size_t offset = gdn_ring_offset(&d->ring, buffer);
    uint64_t payload = d->ring.device + offset;
    gdn_payload_write(y, (unsigned char *)d->ring.memory + offset);
    if (d->staging) {
        gdn_cu r = d->driver.cuMemcpyHtoDAsync(d->staging, d->ring.memory + offset, y->packer.bytes, stream);
        if (r) GDN_DRIVER_FAIL(&d->driver, error, r, "cuMemcpyHtoDAsync of %zu bytes", y->packer.bytes);
        payload = d->staging;
    }
    status = launch(d, 0, y->blocks, payload, y->shared_bytes, stream, error);
    if (status) return status;
    d->common.counters.ring_launches++;
    status = gdn_ring_guard(&d->ring, &d->driver, buffer, stream, &d->common.counters.ring_waits, error);
    if (!status) gdn_payload_keep(y, (unsigned char *)d->ring.memory + offset);
    return status;
}

/* Is such a step, come again, the same one? Memory of the device may have changed, and who has outputs checked or
 * poisoned wants them written. */
static int may_repeat(const gdn_fill_inputs *in)
{
    const gdn_config *c = &in->settings->config;
    const gdn_step *step = in->step;
    int on_device = step->device_seq_lens || step->device_accepted;
    for (int32_t g = 0; g < c->num_groups && !step->null_slots; g++) on_device |= step->tables[g].on_device;
    return !on_device && !c->check && !c->poison;
}

/* A stream that was destroyed may have left its handle to another one, which waits for none of its launches. */
static int is_last_stream(gdn_cuda *d, void *stream)
{
    uint64_t id;
    return !d->driver.cuStreamGetId(stream, &id) && id == d->stream_id;
}

/* One launch, or none where the outputs hold the step already. */
static gdn_status fill(gdn_cuda *d, gdn_arena *arena, const gdn_fill_inputs *inputs, void *stream, gdn_error *error)
{
    gdn_payload *y = &d->payload;
    gdn_payload_plan(y, arena, inputs);
    y->launch->head.faults = d->ring.device;
    if (gdn_payload_is_filled(y) && is_last_stream(d, stream)) {
        d->common.counters.skipped++;
        return GDN_OK;
    }
    d->stream = stream;
    int fits = y->packer.bytes <= GDN_LARGE - sizeof(gdn_head);
    gdn_status status = fits ? fill_inside(d, stream, error) : fill_from_ring(d, stream, error);
    if (!may_repeat(inputs) || d->driver.cuStreamGetId(stream, &d->stream_id)) y->filled_from = NULL;
    return status;
}

gdn_status gdn_cuda_fill(gdn_device *device, gdn_arena *arena, const gdn_fill_inputs *inputs, void *stream,
                         gdn_error *error)
{
    gdn_cuda *d = (gdn_cuda *)device;
    gdn_error ignored;
    int pushed;
    gdn_status entered = gdn_cuda_enter(d, &pushed, error), status = entered;
    if (!status) status = gdn_cuda_refuse_capturing(d, stream, "build before the capture begins", error);
    if (!status) status = fill(d, arena, inputs, stream, error);
    if (status) d->payload.filled_from = NULL; /* a context that is lost takes the outputs with it */
    if (status && !entered) gdn_arena_doubt(arena);
    if (!entered) (void)gdn_cuda_leave(d, pushed, GDN_OK, &ignored); /* what was launched is launched */
    return status;
}

/* What a fill would refuse is left to it. */
int gdn_cuda_skip(gdn_device *device, void *stream)
{
    gdn_cuda *d = (gdn_cuda *)device;
    gdn_error ignored;
    int pushed;
    if (!d->payload.filled_from || gdn_cuda_enter(d, &pushed, &ignored)) return 0;
    int same = !gdn_cuda_refuse_capturing(d, stream, "", &ignored) && is_last_stream(d, stream);
    (void)gdn_cuda_leave(d, pushed, GDN_OK, &ignored);
    d->common.counters.skipped += same;
    return same;
}

static gdn_status launch_verification(gdn_cuda *d, gdn_verify_input *input, void *stream, gdn_error *error)
{
    void *arguments[] = { input };
    gdn_cu r = d->driver.cuLaunchKernel(d->verify_kernel, input->blocks, 1, 1, GDN_VERIFY_THREADS, 1, 1, 0, stream,
                                        arguments, NULL);
    if (r) GDN_DRIVER_FAIL(&d->driver, error, r, "cuLaunchKernel of %u blocks", input->blocks);
    d->common.counters.launches++;
    return GDN_OK;
}

gdn_status gdn_cuda_verify(gdn_device *device, gdn_verify_input *input, void *stream, gdn_error *error)
{
    gdn_cuda *d = (gdn_cuda *)device;
    gdn_error ignored;
    int pushed;
    input->found = d->ring.device + GDN_RING_FOUND;
    gdn_status status = input->blocks ? gdn_cuda_enter(d, &pushed, error) : GDN_OK;
    if (status || !input->blocks) return status;
    status = gdn_cuda_refuse_capturing(d, stream, "check before the capture begins", error);
    if (!status) status = launch_verification(d, input, stream, error);
    (void)gdn_cuda_leave(d, pushed, GDN_OK, &ignored); /* what was launched is launched */
    return status;
}

gdn_status gdn_cuda_load_kernels(gdn_cuda *d, int *absent, gdn_error *error)
{
    gdn_cu r = d->driver.cuModuleLoadData(&d->module, gdn_image);
    if (r && gdn_image_bytes == 0) {
        *absent = 1;
        return gdn_fail(error, GDN_EDEVICE,
                        "this library was built without nvcc and has no kernel, want one built where "
                        "nvcc 12.1 or later is");
    }
    if (r) GDN_DRIVER_FAIL(&d->driver, error, r, "cuModuleLoadData");
    for (int i = 0; i < GDN_CUDA_KERNELS; i++)
        if ((r = d->driver.cuModuleGetFunction(&d->kernels[i], d->module, KERNEL_NAMES[i])))
            GDN_DRIVER_FAIL(&d->driver, error, r, "cuModuleGetFunction of %s", KERNEL_NAMES[i]);
    if ((r = d->driver.cuModuleGetFunction(&d->verify_kernel, d->module, "gdn_verify_all")))
        GDN_DRIVER_FAIL(&d->driver, error, r, "cuModuleGetFunction of gdn_verify_all");
    for (int i = 0; i < 2; i++)
        if ((r = d->driver.cuModuleGetFunction(&d->bring_kernels[i], d->module, BRING_NAMES[i])))
            GDN_DRIVER_FAIL(&d->driver, error, r, "cuModuleGetFunction of %s", BRING_NAMES[i]);
    return GDN_OK;
}

gdn_status gdn_cuda_warm_up(gdn_cuda *d, gdn_error *error)
{
    gdn_status status = launch(d, 0, 1, 0, 0, NULL, error);
    gdn_cu r = status ? 0 : d->driver.cuStreamSynchronize(NULL);
    if (r) GDN_DRIVER_FAIL(&d->driver, error, r, "cuStreamSynchronize after the first launch");
    d->common.counters.launches = 0;
    return status;
}
