// Kernels that misbehave on purpose, to test how errors arrive.
#include "grid.h"

// The first lane of the grid writes to an arbitrary address.
kernel void store_to(ulong address, uint value) {
    if (global_x() == 0)
        *(global volatile uint *)address = value;
}

// Stops in the trap handler.
kernel void trap_now(void) { __builtin_trap(); }

// Runs into an undefined opcode: SOPP opcode 0x7f. out[0] becomes 1 before it; out[1] must never become 1.
kernel void illegal(global volatile uint *out) {
    out[0] = 1;
    __asm__ volatile("s_waitcnt vmcnt(0)\n\t.long 0xbfff0000");
    out[1] = 1;
}
