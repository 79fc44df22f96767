// Where did the dispatcher put each workgroup? Reads the hardware id register of the wavefront.
#include "grid.h"

// s_getreg_b32 operand: 32 bits from bit 0 of a hardware register.
// The build defines GFX, the generation. Wavefront id: HW_ID is register 4 on gfx9; gfx10 moved it to HW_ID1, register 23.
#define WHOLE_REGISTER(id) ((31 << 11) | (id))
#if GFX == 9
#define HW_ID WHOLE_REGISTER(4)
#elif GFX == 10
#define HW_ID WHOLE_REGISTER(23)
#else
#error "which register holds the wavefront id on this GPU?"
#endif

// The first lane of each workgroup of a one-dimensional grid writes the raw hardware id to out[workgroup],
// after `spin` sleeps of about 64 clocks each, which keep many workgroups resident at once.
kernel void probe_hw_id(global uint *out, uint spin) {
    for (uint i = 0; i < spin; i++)
        __builtin_amdgcn_s_sleep(1);
    uint id = __builtin_amdgcn_s_getreg(HW_ID);
    if (local_x() == 0)
        out[group_x()] = id;
}
