// Element-wise work on vectors of n elements: one lane per element, one-dimensional grid of at least n.
#include "grid.h"

kernel void vector_add(global const float *a, global const float *b, global float *c, uint n) {
    uint i = global_x();
    if (i < n)
        c[i] = a[i] + b[i];
}

// y = alpha * x + y
kernel void saxpy(float alpha, global const float *x, global float *y, uint n) {
    uint i = global_x();
    if (i < n)
        y[i] = alpha * x[i] + y[i];
}

kernel void fill_u32(global uint *out, uint value, uint n) {
    uint i = global_x();
    if (i < n)
        out[i] = value;
}

kernel void copy_u32(global const uint *in, global uint *out, uint n) {
    uint i = global_x();
    if (i < n)
        out[i] = in[i];
}

// One atomic add of 1 per lane to counters[lane]: dispatches that overlap lose nothing.
kernel void increment(global atomic_uint *counters, uint n) {
    uint i = global_x();
    if (i < n)
        __opencl_atomic_fetch_add(&counters[i], 1u, memory_order_relaxed, memory_scope_device);
}
