/* The checks of a step on the CPU. */
#ifndef GDN_VERIFY_CPU_H
#define GDN_VERIFY_CPU_H

#include "verify/verify_input.h"

void gdn_verify_cpu(const gdn_verify_input *input);

#endif
