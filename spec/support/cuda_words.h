/* CUDA's words for a C++ compiler that has none, which then reads kernels.cu like nvcc: see kernel_language_spec. */
#include <stdint.h>

#define __CUDACC__ 1
#define __device__
#define __global__
#define __shared__
#define __grid_constant__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct uint4 { unsigned x, y, z, w; };
struct dim { unsigned x, y, z; };
static const dim blockIdx = {}, threadIdx = {}, gridDim = {};

static inline void __syncthreads() {}
static inline unsigned long long atomicCAS(unsigned long long *at, unsigned long long was, unsigned long long next)
{
    unsigned long long now = *at;
    if (now == was) *at = next;
    return now;
}
static inline unsigned atomicOr(unsigned *at, unsigned bits)
{
    unsigned now = *at;
    *at |= bits;
    return now;
}
static inline int __popc(unsigned word) { return __builtin_popcount(word); }
static inline int __ffs(int word) { return __builtin_ffs(word); }
