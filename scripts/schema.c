/* Prints lua/gdnmeta/native/schema.lua: the options of a configuration and the outputs of a step, from the tables that
 * the core itself is made from. make compiles and runs it. */
#include "base/config_fields.h"
#include "base/fields.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Names are printed in the order of the tables: it is that of the structs. */
enum {
#define X(name) COUNT_##name,
    GDN_COUNTS(X)
#undef X
    NUM_COUNTS
};
#define X(name)                                                                                                       \
    _Static_assert(offsetof(gdn_metadata, name) == sizeof(int64_t) + COUNT_##name * sizeof(int32_t),                  \
                   "fields.h: GDN_COUNTS has gdn_metadata's numbers in its order, " #name " is elsewhere");
GDN_COUNTS(X)
#undef X

#define TENSORS offsetof(gdn_metadata, spec_query_start_loc)
_Static_assert(TENSORS - sizeof(int64_t) - NUM_COUNTS * sizeof(int32_t) < sizeof(int64_t),
               "fields.h: GDN_COUNTS lacks a number of gdn_metadata");
_Static_assert(sizeof(gdn_metadata) == TENSORS + GDN_NUM_FIELDS * sizeof(gdn_tensor),
               "fields.h: GDN_FIELDS has all tensors of gdn_metadata");
#define X(name, type, capacity, per_group)                                                                            \
    _Static_assert(offsetof(gdn_metadata, name) == TENSORS + GDN_FIELD_##name * sizeof(gdn_tensor),                   \
                   "fields.h: GDN_FIELDS has gdn_metadata's tensors in its order, " #name " is elsewhere");
GDN_FIELDS(X)
#undef X

static const struct {
    const char *name, *rules, *kind;
    int64_t low, high, value;
} OPTIONS[] = {
#define X(name, low, high, value, rules, kind) { #name, #rules, #kind, low, high, value },
    GDN_CONFIG_FIELDS(X)
#undef X
};

int main(void)
{
    puts("-- Generated from src/base/config_fields.h and fields.h by make. Do not edit.\nreturn {\n  options = {");
    for (size_t i = 0; i < sizeof OPTIONS / sizeof *OPTIONS; i++) {
        printf("    { name = \"%s\", low = %" PRId64 ", high = %" PRId64 ", default = %" PRId64
               ", rules = \"%s\", kind = \"%s\" },\n",
               OPTIONS[i].name, OPTIONS[i].low, OPTIONS[i].high, OPTIONS[i].value, OPTIONS[i].rules, OPTIONS[i].kind);
    }
    puts("  },\n  fields = {\n    counts = {");
#define X(name) puts("      \"" #name "\",");
    GDN_COUNTS(X)
#undef X
    puts("    },\n    tensors = {");
#define X(name, type, capacity, per_group) puts("      \"" #name "\",");
    GDN_FIELDS(X)
#undef X
    puts("    },\n    per_group = {");
#define X(name, type, capacity, per_group) printf("      %s = %s,\n", #name, per_group ? "true" : "false");
    GDN_FIELDS(X)
#undef X
    puts("    },\n  },\n}");
    return ferror(stdout) || fflush(stdout);
}
