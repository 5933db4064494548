/* Fails every allocation once: whatever is made is then refused with GDN_ENOMEM, gives back all that it took and
 * touches no output; and can be made when there is memory again. The linker puts the functions below in front of
 * the core's own calls (make faults), and ASan looks on.
 *   faults             builders on the CPU, batches, attention blocks, slots, heaps, indexes, channels
 *   faults cuda        builders on the driver that GDNMETA_LIBCUDA names, too */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gdnmeta_prefix_index.h"
#include "gdnmeta_worker.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *p);

static long calls, live, fail_at, fail_for; /* calls fail_at .. fail_at + fail_for - 1 find no memory */

static int fails(void)
{
    calls++;
    return calls >= fail_at && calls - fail_at < fail_for;
}

static void *taken(void *p)
{
    live += p != NULL;
    return p;
}

void *__wrap_malloc(size_t size) { return fails() ? NULL : taken(__real_malloc(size)); }
void *__wrap_calloc(size_t n, size_t size) { return fails() ? NULL : taken(__real_calloc(n, size)); }
void *__wrap_aligned_alloc(size_t a, size_t size) { return fails() ? NULL : taken(__real_aligned_alloc(a, size)); }

void *__wrap_realloc(void *p, size_t size)
{
    if (fails()) return NULL;
    void *grown = __real_realloc(p, size);
    live += !p && grown;
    return grown;
}

void __wrap_free(void *p)
{
    live -= p != NULL;
    __real_free(p);
}

static const char *doing;

#define WANT(condition, ...)                                   \
    do {                                                       \
        if (!(condition)) {                                    \
            fprintf(stderr, "faults: %s, call %ld: ", doing, fail_at); \
            fprintf(stderr, __VA_ARGS__);                      \
            fputc('\n', stderr);                               \
            exit(1);                                           \
        }                                                      \
    } while (0)

static int32_t device = GDN_DEVICE_CPU;
static int32_t rules, drafts;
static gdn_builder *builder; /* of batches */
static gdn_heap *heap;       /* grown */

static gdn_config configuration(void)
{
    gdn_config c;
    gdn_config_init(&c);
    c.device = device;
    c.rules = rules;
    c.num_speculative_tokens = drafts;
    c.num_groups = 5;
    c.max_num_seqs = 40;
    c.max_num_batched_tokens = 512;
    c.full_cuda_graph = 1;
    return c;
}

/* Each makes its thing into *out, or frees it. Those who have a reason write it. */
static gdn_status make_builder(void **out, char *why, size_t size)
{
    gdn_config c = configuration();
    return gdn_builder_new(&c, (gdn_builder **)out, why, size);
}

static void free_builder(void *b) { gdn_builder_free(b); }

static gdn_status make_batch(void **out, char *why, size_t size)
{
    (void)why, (void)size;
    return gdn_batch_new(builder, (gdn_batch **)out);
}

static void free_batch(void *b) { gdn_batch_free(b); }

static gdn_status make_slots(void **out, char *why, size_t size)
{
    const int32_t sizes[] = { 9, 1, 30 };
    (void)why, (void)size;
    return gdn_slots_new(3, sizes, (gdn_slots **)out);
}

static void free_slots(void *s) { gdn_slots_free(s); }

static gdn_status make_heap(void **out, char *why, size_t size)
{
    (void)why, (void)size;
    return gdn_heap_new(8, (gdn_heap **)out);
}

static void free_heap(void *h) { gdn_heap_free(h); }

static gdn_status make_index(void **out, char *why, size_t size)
{
    const gdn_index_config c = { .size = sizeof c, .num_groups = 3, .block_size = 16, .kv_per_block = 2,
                                 .max_nodes = 500, .max_blocks = 9000 };
    return gdn_index_new(&c, (gdn_index **)out, why, size);
}

static void free_index(void *x) { gdn_index_free(x); }

static gdn_status make_kv(void **out, char *why, size_t size)
{
    const gdn_kv_config c = { .num_blocks = 300, .block_size = 16, .rows = 40, .columns = 20, .steps = 2 };
    gdn_status status = gdn_kv_new(builder, &c, (gdn_kv **)out);
    if (status) snprintf(why, size, "%s", gdn_last_error(builder));
    return status;
}

static void free_kv(void *kv) { gdn_kv_free(kv); }

static gdn_status make_channel(void **out, char *why, size_t size)
{
    return gdn_channel_new(4096, 4096, (gdn_channel **)out, why, size);
}

static void free_channel(void *c) { gdn_channel_free(c); }

/* A heap that cannot grow still works, at its old size. */
static gdn_status grow_heap(void **out, char *why, size_t size)
{
    (void)why, (void)size;
    gdn_status status = gdn_heap_reserve(heap, 100000);
    WANT(gdn_heap_first(heap) == 3 && gdn_heap_size(heap) == 2 && gdn_heap_key(heap, 5) == 2.0, "the heap has changed");
    WANT(gdn_heap_set(heap, 99, 1.0, 0.0) == (status ? GDN_EINVAL : GDN_OK),
         "gdn_heap_set of id 99 is not as reserved");
    (void)gdn_heap_remove(heap, 99);
    if (!status) *out = heap;
    return status;
}

static void ungrow_heap(void *h)
{
    gdn_heap_free(h);
    if (gdn_heap_new(8, &heap) || gdn_heap_set(heap, 5, 2.0, 0.0) || gdn_heap_set(heap, 3, 0.5, 0.0)) abort();
}

/* A tensor for another library; its memory is the builder's. */
static gdn_status make_export(void **out, char *why, size_t size)
{
    (void)why, (void)size;
    return gdn_tensor_export(builder, &gdn_builder_metadata(builder)->non_spec_query_start_loc, (gdn_dlpack **)out);
}

static void free_export(void *e) { ((gdn_dlpack *)e)->deleter(e); }

static void build_nothing(void)
{
    gdn_batch *batch = NULL;
    if (gdn_batch_new(builder, &batch) || gdn_build(builder, batch, NULL)) abort();
    gdn_batch_free(batch);
}

/* Fails call 1, 2, ... (with `all`: and every later one) until there are no more. Returns how many there were. */
static long each_call(const char *name, gdn_status (*make)(void **, char *, size_t), void (*drop)(void *), int all)
{
    doing = name;
    long before = live;
    for (long n = 1;; n++) {
        void *out = NULL;
        char why[256] = "";
        calls = 0, fail_at = n, fail_for = all ? 1L << 40 : 1;
        gdn_status status = make(&out, why, sizeof why);
        long made = calls;
        fail_for = 0;
        if (status == GDN_OK) {
            WANT(made < n, "succeeds without its memory");
            drop(out);
            WANT(live == before || drop == ungrow_heap, "%ld allocations are left after it was freed", live - before);
            return made;
        }
        WANT(status == GDN_ENOMEM, "gives %d, want %d (GDN_ENOMEM): %s", status, GDN_ENOMEM, why);
        WANT(!out, "is refused and wrote its output");
        int is_silent = make == make_batch || make == make_export || make == make_slots || make == make_heap;
        WANT(is_silent || make == grow_heap || strstr(why, "memory"),
             "gives the reason '%s', which names no memory", why);
        WANT(live == before || make == grow_heap, "%ld allocations are left after it was refused", live - before);
    }
}

static long total;

static void both_ways(const char *name, gdn_status (*make)(void **, char *, size_t), void (*drop)(void *))
{
    long n = each_call(name, make, drop, 0), again = each_call(name, make, drop, 1);
    WANT(n == again && n > 0, "makes %ld allocations, then %ld", n, again);
    total += 2 * n;
    printf("faults: %s: %ld allocations, each failed alone and with all behind it\n", name, n);
}

int main(int argc, char **argv)
{
    static const char *const NAMES[] = { "a strict builder", "a vllm-2026-04 builder", "a vllm-2026-08 builder",
                                        "a vllm-2026-11 builder" };
    int cuda = argc > 1 && strcmp(argv[1], "cuda") == 0;
    for (rules = GDN_RULES_STRICT; rules <= GDN_RULES_VLLM_2026_11; rules++)
        for (drafts = 0; drafts <= 3; drafts += 3) both_ways(NAMES[rules], make_builder, free_builder);
    rules = GDN_RULES_STRICT;
    for (int n = 0; n < 1 + cuda; n++) {
        gdn_config c = configuration();
        if (device != GDN_DEVICE_CPU)
            for (drafts = 0; drafts <= 3; drafts += 3) both_ways("a builder on CUDA", make_builder, free_builder);
        if (gdn_builder_new(&c, &builder, NULL, 0)) abort();
        both_ways(n ? "a batch for CUDA" : "a batch", make_batch, free_batch);
        both_ways(n ? "attention blocks for CUDA" : "attention blocks", make_kv, free_kv);
        build_nothing();
        both_ways("an exported tensor", make_export, free_export);
        gdn_builder_free(builder);
        device = 0;
    }
    both_ways("slots", make_slots, free_slots);
    both_ways("a heap", make_heap, free_heap);
    both_ways("an index", make_index, free_index);
    both_ways("a channel", make_channel, free_channel);
    if (gdn_heap_new(1, &heap)) abort();
    ungrow_heap(heap);
    both_ways("a growing heap", grow_heap, ungrow_heap);
    gdn_heap_free(heap);
    doing = "everything", fail_at = 0;
    WANT(live == 0, "%ld allocations are left", live);
    printf("faults: %ld allocations refused with GDN_ENOMEM, nothing left behind\n", total);
    return 0;
}
