/* The most of what can be configured. Compiles as C and as CUDA. */
#ifndef GDN_LIMITS_H
#define GDN_LIMITS_H

enum { GDN_MAX_ROWS = 65536, GDN_MAX_GROUPS = 64, GDN_MAX_SPEC = 64 };

#endif
