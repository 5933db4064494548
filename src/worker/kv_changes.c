/* What a worker's copy of the kv table lacks. */
#include "gdnmeta_worker.h"

static int is_known(const gdn_kv_sent *sent, int64_t owner, int32_t used)
{
    return sent->owner == owner && sent->columns <= used;
}

static int64_t count_changes(int32_t num_rows, const int32_t *table_row, const int64_t *owner, const int32_t *used,
                             int32_t rows, int32_t columns, const gdn_kv_sent *sent)
{
    int64_t n = 0;
    for (int32_t i = 0; i < num_rows; i++) {
        int32_t r = table_row[i];
        if (r < 0 || r >= rows || used[i] < 0 || used[i] > columns || owner[i] < 0) return -1;
        n += used[i] - (is_known(sent + r, owner[i], used[i]) ? sent[r].columns : 0);
    }
    return n;
}

int32_t gdn_kv_changes(int32_t num_rows, const int32_t *table_row, const int64_t *owner, const int32_t *used,
                       const int32_t *table, int32_t rows, int32_t columns, gdn_kv_sent *sent, int32_t *out,
                       int32_t capacity)
{
    if (num_rows < 0 || rows < 0 || columns < 0 || !table_row || !owner || !used || !table || !sent || !out)
        return GDN_EINVAL;
    int64_t n = count_changes(num_rows, table_row, owner, used, rows, columns, sent);
    if (n < 0) return GDN_EINVAL;
    if (n > capacity) return GDN_ECAP;
    for (int32_t i = 0; i < num_rows; i++) {
        int32_t r = table_row[i];
        int32_t from = is_known(sent + r, owner[i], used[i]) ? sent[r].columns : 0;
        for (int32_t c = from; c < used[i]; c++) {
            *out++ = r;
            *out++ = c;
            *out++ = table[(int64_t)r * columns + c];
        }
        sent[r] = (gdn_kv_sent){ .owner = owner[i], .columns = used[i] };
    }
    return (int32_t)n;
}
