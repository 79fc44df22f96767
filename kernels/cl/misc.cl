// Small kernels for tests: time, argument passing.
#include "grid.h"

kernel void empty(void) {}

// Waits until *flag is not 0, for at most max_iterations looks. Any agent, or the host, may set the flag.
kernel void spin(global atomic_uint *flag, uint max_iterations) {
    for (uint i = 0; i < max_iterations; i++) {
        if (__opencl_atomic_load(flag, memory_order_relaxed, memory_scope_all_svm_devices) != 0)
            return;
        __builtin_amdgcn_s_sleep(1);
    }
}

// 16 bytes, alignment 8.
typedef struct {
    uint first;
    uchar second;
    ulong third;
} Pair;

// What `arguments` writes: 56 bytes, every field at its natural alignment.
typedef struct {
    ulong u64;
    double f64;
    Pair pair;
    uint u32;
    float f32;
    ushort u16;
    uchar u8;
    // Sum of the workgroup's local ids, made through the dynamic LDS argument.
    uint lds_sum;
    uint group;
} Arguments;

// Every kind of argument, at awkward alignments. Each workgroup of a one-dimensional grid writes out[workgroup].
// `lds` needs 4 bytes for each lane of a workgroup.
kernel void arguments(uchar u8, ulong u64, ushort u16, global Arguments *out, uint u32, local uint *lds,
                      float f32, double f64, Pair pair) {
    uint lane = local_x();
    lds[lane] = lane;
    group_barrier();
    if (lane != 0)
        return;
    uint sum = 0;
    uint size = __builtin_amdgcn_workgroup_size_x();
    for (uint i = 0; i < size; i++)
        sum += lds[i];
    uint group = group_x();
    out += group;
    out->u64 = u64;
    out->f64 = f64;
    out->pair.first = pair.first;
    out->pair.second = pair.second;
    out->pair.third = pair.third;
    out->u32 = u32;
    out->f32 = f32;
    out->u16 = u16;
    out->u8 = u8;
    out->lds_sum = sum;
    out->group = group;
}

// Copies the first 7 words of the hidden arguments, which the compiler puts after the explicit ones.
kernel void hidden_arguments(global ulong *out, uint unused) {
    (void)unused;
    constant ulong *hidden = (constant ulong *)__builtin_amdgcn_implicitarg_ptr();
    if (global_x() == 0)
        for (uint i = 0; i < 7; i++)
            out[i] = hidden[i];
}
