// Variables of a program, of the three kinds that a loader meets: initialised, constant, and defined by the host.
#include "grid.h"

#define PUBLIC __attribute__((visibility("default")))

PUBLIC global uint table[4] = {2, 3, 5, 7};
PUBLIC constant uint primes[4] = {11, 13, 17, 19};
PUBLIC extern global uint provided[4];

kernel void variables(global uint *out) {
    uint i = global_x();
    if (i < 4) {
        out[i] = table[i] * 10000 + primes[i] * 100 + provided[i];
        table[i] += 1;
    }
}
