/* Time, and how latencies are kept. */
#include "load.h"

#include <time.h>

uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static unsigned bucket_of(uint64_t us) {
    if (us < 64) return (unsigned)us;
    unsigned power = 63u - (unsigned)__builtin_clzll(us); /* 6 and more */
    unsigned bucket = (power - 5) * 64 + (unsigned)((us >> (power - 6)) & 63);
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

static uint64_t value_of(unsigned bucket) {
    if (bucket < 64) return bucket;
    unsigned power = bucket / 64 + 5;
    return ((uint64_t)64 + bucket % 64) << (power - 6);
}

void histogram_add(struct histogram *h, uint64_t ns) {
    h->count[bucket_of(ns / 1000)]++;
    h->total++;
    if (ns > h->longest_ns) h->longest_ns = ns;
}

double histogram_ms(const struct histogram *h, double share) {
    uint64_t wanted = (uint64_t)(share * (double)h->total), seen = 0;
    if (h->total == 0) return 0.0;
    for (unsigned bucket = 0; bucket < BUCKETS; bucket++) {
        seen += h->count[bucket];
        if (seen > wanted) return (double)value_of(bucket) / 1000.0;
    }
    return (double)h->longest_ns / 1e6;
}
