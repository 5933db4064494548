/* Bringing states and windows in the caller's thread. */
#ifndef GDN_BRING_CPU_H
#define GDN_BRING_CPU_H

#include "bring/bring_plan.h"

void gdn_bring_cpu(const gdn_bring_plan *p);

#endif
