/* The checks of a step on the CPU. */
#ifndef GDN_CHECK_CPU_H
#define GDN_CHECK_CPU_H

#include "verify/verify_plan.h"

void gdn_check_cpu(const gdn_checks *checks);

#endif
