/* Shared words of a check: the first violation, and who uses a slot. Threads of a device meet here in any order, so
 * all is done by compare and swap; on the CPU, whose loop is alone, by plain loads and stores. */
#ifndef GDN_VERIFY_ATOMIC_H
#define GDN_VERIFY_ATOMIC_H

#include "verify/verify_input.h"
#include "base/rule.h"

/* *at becomes `next` if it is `was`; what it held. */
GDN_RULE uint64_t gdn_swap(uint64_t *at, uint64_t was, uint64_t next)
{
#ifdef __CUDACC__
    return atomicCAS((unsigned long long *)at, (unsigned long long)was, (unsigned long long)next);
#else
    uint64_t now = *at;
    if (now == was) *at = next;
    return now;
#endif
}

/* The word of a violation, most significant first: step 16 bits, field 6, group 6, element 31, code 5. */
enum { GDN_FOUND_STEP = 48, GDN_FOUND_FIELD = 42, GDN_FOUND_GROUP = 36, GDN_FOUND_ELEMENT = 5 };

#ifndef __CUDACC__ /* C++ spells it otherwise, and one compiler is enough */
_Static_assert(GDN_NUM_FIELDS <= 1 << (GDN_FOUND_STEP - GDN_FOUND_FIELD),
               "base/fields.h: a violation's word has 6 bits for a field");
_Static_assert(GDN_MAX_GROUPS <= 1 << (GDN_FOUND_FIELD - GDN_FOUND_GROUP),
               "base/limits.h: a violation's word has 6 bits for a group");
_Static_assert(GDN_CHECK_LIVE < 1 << GDN_FOUND_ELEMENT,
               "gdnmeta.h: a violation's word has 5 bits for a GDN_CHECK_*");
#endif

/* Of one step's violations the lowest word stays, whatever the order of threads; of several steps', the first. */
GDN_RULE void gdn_report(const gdn_verify_input *c, uint32_t field, uint32_t group, uint32_t i, int32_t code)
{
    uint64_t word = (uint64_t)(c->step & 0xffff) << GDN_FOUND_STEP | (uint64_t)field << GDN_FOUND_FIELD |
                    (uint64_t)group << GDN_FOUND_GROUP | (uint64_t)i << GDN_FOUND_ELEMENT | (uint64_t)code;
    uint64_t *found = (uint64_t *)(uintptr_t)c->found, was = 0;
    for (;;) {
        uint64_t now = gdn_swap(found, was, word);
        if (now == was || now >> GDN_FOUND_STEP != word >> GDN_FOUND_STEP || now <= word) return;
        was = now;
    }
}

/* The word of a slot: stamp 30 bits, its writer 17, its reader 17. A row counts from 1, 0 means none. */
enum { GDN_CLAIM_STAMP = 34, GDN_CLAIM_WRITER = 17, GDN_CLAIM_MANY = 0x1ffff };

#ifndef __CUDACC__
_Static_assert((int)GDN_MAX_ROWS < (int)GDN_CLAIM_MANY && GDN_CLAIM_MANY < 1 << GDN_CLAIM_WRITER,
               "base/limits.h: a slot's word has 17 bits for a row");
_Static_assert(64 - GDN_CLAIM_STAMP == 30, "verify_input.h: a slot's word has 30 bits for a stamp");
#endif

/* Row `number` writes or reads the slot. Writers and readers come in any order, and the later one sees the earlier:
 * 0 where another row writes it, or this one writes what another uses. Rows may read a slot together. */
GDN_RULE int32_t gdn_claim_slot(const gdn_verify_input *c, uint32_t group, uint64_t slot, uint32_t number,
                                int32_t writes)
{
    if (!c->claims) return 1;
    uint64_t *claim = (uint64_t *)(uintptr_t)c->claims + group * c->most_slots + slot, was = 0, me = number + 1;
    for (;;) {
        uint64_t fresh = was >> GDN_CLAIM_STAMP != c->stamp;
        uint64_t writer = fresh ? 0 : was >> GDN_CLAIM_WRITER & GDN_CLAIM_MANY;
        uint64_t reader = fresh ? 0 : was & GDN_CLAIM_MANY;
        if (writes && (writer || (reader && reader != me))) return 0;
        if (!writes && writer && writer != me) return 0;
        if (writes) writer = me;
        else reader = !reader || reader == me ? me : GDN_CLAIM_MANY;
        uint64_t next = (uint64_t)c->stamp << GDN_CLAIM_STAMP | writer << GDN_CLAIM_WRITER | reader;
        uint64_t now = gdn_swap(claim, was, next);
        if (now == was) return 1;
        was = now;
    }
}

/* Stamps repeat after 2^30 checks. Each check clears one claim, so by then no outdated claim is left. */
GDN_RULE void gdn_forget_claim(const gdn_verify_input *c)
{
    if (!c->claimable) return;
    uint64_t *claim = (uint64_t *)(uintptr_t)c->claims + c->stamp % c->claimable, was = *(volatile uint64_t *)claim;
    if (was >> GDN_CLAIM_STAMP != c->stamp) (void)gdn_swap(claim, was, 0);
}

#endif
