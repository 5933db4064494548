/* Bounds of memory whose size another file decides. A debug build (-DGDN_DEBUG) ends the process that passes one. */
#ifndef GDN_BOUND_H
#define GDN_BOUND_H

#ifdef GDN_DEBUG
#include <stdio.h>
#include <stdlib.h>
#define GDN_BOUND(holds, message) ((holds) ? (void)0 : (fputs("gdnmeta: " message "\n", stderr), abort()))
#else
#define GDN_BOUND(holds, message) ((void)0)
#endif

#endif
