/* Both sides of a channel, for ThreadSanitizer (make tsan): two threads that send, wait and read at full speed, in a
 * ring that is always nearly full or empty.
 *   channel_threads <records> */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "gdnmeta_worker.h"

enum { WORDS = 24 };

typedef struct end {
    pthread_t thread;
    gdn_channel *channel;
    long records, sent, got, full;
} end;

static void die(const char *what, long n)
{
    fprintf(stderr, "channel_threads: %s, record %ld\n", what, n);
    exit(1);
}

/* Record n has 1 + n % WORDS words, which follow from n. */
static int64_t fill(uint64_t *record, long n)
{
    int64_t words = 1 + n % WORDS;
    for (int64_t k = 0; k < words; k++) record[k] = (uint64_t)n * 1000 + (uint64_t)k;
    return 8 * words;
}

static void check(const uint64_t *record, int64_t bytes, long n)
{
    uint64_t want[WORDS];
    if (bytes != fill(want, n)) die("another size", n);
    for (int64_t k = 0; k < bytes / 8; k++)
        if (record[k] != want[k]) die("other bytes", n);
}

static void *work(void *argument)
{
    end *e = argument;
    uint64_t record[WORDS];
    while (e->sent < e->records || e->got < e->records) {
        if (e->sent < e->records) {
            gdn_status status = gdn_channel_send(e->channel, record, fill(record, e->sent));
            if (status && status != GDN_ECAP) die("send was refused", e->sent);
            e->sent += !status, e->full += status == GDN_ECAP;
        }
        if (e->got < e->records) {
            double seconds = e->sent < e->records ? 0 : 5;
            int32_t bytes = gdn_channel_receive(e->channel, record, sizeof record, seconds);
            if (bytes < 0 || (seconds > 0 && !bytes)) die("receive failed", e->got);
            if (bytes) check(record, bytes, e->got++);
        }
        gdn_channel_beat(e->channel);
        (void)gdn_channel_beats(e->channel);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    end ends[2] = { { .records = argc > 1 ? strtol(argv[1], NULL, 10) : 1000 } };
    char why[200];
    ends[1].records = ends[0].records;
    if (gdn_channel_new(8 * WORDS, 8 * WORDS, &ends[0].channel, why, sizeof why)) die(why, 0);
    if (gdn_channel_open(gdn_channel_descriptor(ends[0].channel), &ends[1].channel, why, sizeof why)) die(why, 0);
    for (int i = 0; i < 2; i++)
        if (pthread_create(&ends[i].thread, NULL, work, &ends[i])) die("pthread_create failed", 0);
    for (int i = 0; i < 2; i++) (void)pthread_join(ends[i].thread, NULL);
    if (!(ends[0].full + ends[1].full)) die("no ring was ever full", 0);
    printf("channel_threads: %ld records each way, the ring was full %ld times\n", ends[0].got,
           ends[0].full + ends[1].full);
    gdn_channel_free(ends[1].channel);
    gdn_channel_free(ends[0].channel);
    return 0;
}
