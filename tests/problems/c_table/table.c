#include <stdio.h>
#include <stdlib.h>

#define BUCKETS 12

static int keys[2000], next[2000], first[BUCKETS];

int main(void) {
    const char *seed = getenv("SWARM_SEED");
    unsigned state = seed ? strtoul(seed, NULL, 10) : 1;
    long probes = 0;
    for (int bucket = 0; bucket < BUCKETS; bucket++) first[bucket] = -1;
    for (int n = 0; n < 2000; n++) {
        state = state * 1103515245u + 12345u;
        keys[n] = state >> 8;
        unsigned bucket = keys[n] % BUCKETS;
        for (int at = first[bucket]; at >= 0 && keys[at] != keys[n]; at = next[at]) probes++;
        next[n] = first[bucket];
        first[bucket] = n;
    }
    printf("probes: %ld\n", probes);
    return 0;
}
