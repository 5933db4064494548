/* All outputs of a step, written by runs: a row's share of an array at a time. */
#ifndef GDN_FILL_CPU_H
#define GDN_FILL_CPU_H

#include "fill/arena.h"
#include "fill/fill_inputs.h"

void gdn_fill_cpu(gdn_arena *arena, const gdn_fill_inputs *inputs);

/* The same where full_cuda_graph is mixed: classes without rows are all padding. */
void gdn_fill_bucket(gdn_arena *arena, const gdn_fill_inputs *inputs);

#endif
