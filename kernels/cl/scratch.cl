// Private memory: a table too large and too irregularly indexed for registers.
#include "grid.h"

#define ENTRIES 64

// table = a permutation of 0..63 that depends on in[i]; out[i] = sum of position * entry.
kernel void scratch_user(global const uint *in, global uint *out, uint n) {
    volatile uint table[ENTRIES];
    uint i = global_x();
    if (i >= n)
        return;
    uint offset = in[i];
#pragma nounroll
    for (uint j = 0; j < ENTRIES; j++)
        table[(j * 5 + offset) % ENTRIES] = j;
    uint sum = 0;
#pragma nounroll
    for (uint j = 0; j < ENTRIES; j++)
        sum += table[j] * j;
    out[i] = sum;
}
