/* A function that compiles as C and, for the device, as CUDA. */
#ifndef GDN_RULE_H
#define GDN_RULE_H

#include <stdint.h>

#ifdef __CUDACC__
#define GDN_RULE static __device__ __forceinline__
#else
#define GDN_RULE static inline
#endif

#endif
