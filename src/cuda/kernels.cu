/* The kernels. The one that fills comes for three sizes of parameters: a step is launched with the smallest that holds
 * it. The parameters are never copied, written or passed on by value: that would cost each thread a stack frame of
 * their size, which the library's build refuses (ptxas must report 0 bytes). The payload is read through a generic
 * pointer only: the constant bank would replay a load for every address in a warp. */
#include "verify/verify_element.h"
#include "cuda/fill_element.h"
#include "bring/bring_block.h"

template <unsigned BYTES> struct alignas(16) gdn_parameters {
    gdn_head head;
    unsigned char payload[BYTES - sizeof(gdn_head)];
};

/* ring: the payload's home when it is not inside. */
#define GDN_KERNEL(name, BYTES)                                                                                        \
    extern "C" __global__ void __launch_bounds__(GDN_THREADS, 4)                                                       \
        name(const __grid_constant__ gdn_parameters<BYTES> p, const unsigned char *ring, uint32_t shared_bytes)        \
    {                                                                                                                  \
        extern __shared__ uint4 shared[];                                                                              \
        const unsigned char *payload = ring ? ring : p.payload;                                                        \
        gdn_copy_searched(&p.head, payload, shared_bytes, blockIdx.x, threadIdx.x, (unsigned char *)shared);           \
        __syncthreads();                                                                                               \
        gdn_fill_element(&p.head, payload, shared_bytes, blockIdx.x, threadIdx.x, (const unsigned char *)shared);      \
    }

GDN_KERNEL(gdn_fill_small, GDN_SMALL)
GDN_KERNEL(gdn_fill_medium, GDN_MEDIUM)
GDN_KERNEL(gdn_fill_large, GDN_LARGE)

extern "C" __global__ void __launch_bounds__(GDN_VERIFY_THREADS, 4)
    gdn_verify_all(const __grid_constant__ gdn_verify_input c)
{
    gdn_verify_block(&c, blockIdx.x, threadIdx.x);
}

/* Two kernels, so that copying states does not wait for the registers of the other. */
#define GDN_BRING_KERNEL(name)                                                                                         \
    extern "C" __global__ void __launch_bounds__(GDN_BRING_THREADS, 2) name(const __grid_constant__ gdn_bring_plan p)  \
    {                                                                                                                  \
        __shared__ gdn_bring_list list;                                                                                \
        for (uint32_t first = 0; first < gdn_bring_rows_in_all(&p); first += GDN_BRING_STRETCH) {                      \
            gdn_bring_clear(&list, threadIdx.x);                                                                       \
            __syncthreads();                                                                                           \
            gdn_bring_mark(&p, first, &list, threadIdx.x);                                                             \
            __syncthreads();                                                                                           \
            gdn_bring_count(&list, threadIdx.x);                                                                       \
            __syncthreads();                                                                                           \
            gdn_bring_note(&p, first, &list, threadIdx.x);                                                             \
            __syncthreads();                                                                                           \
            name##_of(&p, &list, blockIdx.x, gridDim.x, threadIdx.x);                                                  \
            __syncthreads();                                                                                           \
        }                                                                                                              \
    }

GDN_BRING_KERNEL(gdn_bring_all_states)
GDN_BRING_KERNEL(gdn_bring_all_windows)
