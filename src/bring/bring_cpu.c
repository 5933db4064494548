/* Row by row: a state at once, a window by its tokens or its channels, whichever lie together. */
#include "bring/bring_cpu.h"

#include "bring/bring_rows.h"

#include <string.h>

/* From the front on: what a window's place takes over lies at it or behind it. */
static void slide(const gdn_bring_plan *p, char *to, const char *from, int32_t shift)
{
    size_t element = p->element_bytes, tokens = p->length - (uint32_t)shift, channels = p->channels;
    int64_t token = p->token_stride, channel = p->channel_stride;
    from += shift * token;
    if (channel == (int64_t)element) {
        for (size_t t = 0; t < tokens; t++)
            memmove(to + (int64_t)t * token, from + (int64_t)t * token, channels * element);
        return;
    }
    for (size_t c = 0; c < channels; c++, to += channel, from += channel) {
        if (token == (int64_t)element) {
            memmove(to, from, tokens * element);
            continue;
        }
        for (size_t t = 0; t < tokens; t++) memmove(to + (int64_t)t * token, from + (int64_t)t * token, element);
    }
}

void gdn_bring_cpu(const gdn_bring_plan *p)
{
    uint32_t rows = gdn_bring_rows_in_all(p);
    for (uint32_t row = 0; row < rows; row++) {
        gdn_brought m = gdn_bring_row(p, row);
        for (uint32_t i = 0; m.to && i < p->num_pools; i++) {
            char *pool = (char *)(uintptr_t)p->pools[i];
            char *to = pool + m.to * p->slot_stride;
            const char *from = pool + m.from * p->slot_stride;
            if (p->windows) slide(p, to, from, m.shift);
            else memmove(to, from, (size_t)p->slot_bytes);
        }
    }
}
