// The kernels of the HIP programs beside this file.
#include "grid.h"

static inline uint size_x(void) { return __builtin_amdgcn_workgroup_size_x(); }

// One step of a chain that is right only in one order.
kernel void step(global uint *x, uint by) {
    if (global_x() == 0)
        *x = 3 * *x + by;
}

kernel void scale_add(global const float *x, global float *y, float a, uint n) {
    uint i = global_x();
    if (i < n)
        y[i] = a * x[i] + y[i];
}

kernel void fill(global uint *out, uint first, uint n) {
    uint i = global_x();
    if (i < n)
        out[i] = first + i;
}

// Each group's sum of its share of `values`, by halving in LDS.
kernel void reduce(global const uint *values, global uint *sums, uint n) {
    local uint partial[256];
    uint lane = local_x(), sum = 0;
    for (uint i = global_x(); i < n; i += size_x() * 64)
        sum += values[i];
    partial[lane] = sum;
    group_barrier();
    for (uint half_size = size_x() / 2; half_size > 0; half_size /= 2) {
        if (lane < half_size)
            partial[lane] += partial[lane + half_size];
        group_barrier();
    }
    if (lane == 0)
        sums[group_x()] = partial[0];
}

#define TILE 16
// c = a b, square matrices of size n, a multiple of TILE; workgroups of 16 x 16.
kernel void multiply(global const float *a, global const float *b, global float *c, uint n) {
    local float tile_a[TILE][TILE], tile_b[TILE][TILE];
    uint x = local_x(), y = local_y(), column = group_x() * TILE + x, row = group_y() * TILE + y;
    float sum = 0;
    for (uint k = 0; k < n; k += TILE) {
        tile_a[y][x] = a[row * n + k + x];
        tile_b[y][x] = b[(k + y) * n + column];
        group_barrier();
        for (uint i = 0; i < TILE; i++)
            sum = __builtin_fmaf(tile_a[y][i], tile_b[i][x], sum);
        group_barrier();
    }
    c[row * n + column] = sum;
}

// Counts in LDS first, then in global memory. The LDS is the launch's: `bins` words.
kernel void histogram(global const uint *values, global atomic_uint *counts, uint n, uint bins, local atomic_uint *lds) {
    for (uint i = local_x(); i < bins; i += size_x())
        __opencl_atomic_store(&lds[i], 0, memory_order_relaxed, memory_scope_work_group);
    group_barrier();
    for (uint i = global_x(); i < n; i += size_x() * 16)
        __opencl_atomic_fetch_add(&lds[values[i] % bins], 1, memory_order_relaxed, memory_scope_work_group);
    group_barrier();
    for (uint i = local_x(); i < bins; i += size_x())
        __opencl_atomic_fetch_add(&counts[i], __opencl_atomic_load(&lds[i], memory_order_relaxed, memory_scope_work_group),
                                  memory_order_relaxed, memory_scope_device);
}

// The hardware id of each workgroup's first wavefront.
kernel void where(global uint *out) {
    __builtin_amdgcn_s_sleep(10);
    if (local_x() == 0)
        out[group_x()] = __builtin_amdgcn_s_getreg(31 << 11 | 4);
}

// Waits until *flag is not 0, for at most so many looks, and writes what it saw.
kernel void wait_flag(global atomic_uint *flag, uint looks, global uint *seen) {
    uint value = 0;
    for (uint i = 0; i < looks && value == 0; i++) {
        value = __opencl_atomic_load(flag, memory_order_acquire, memory_scope_all_svm_devices);
        __builtin_amdgcn_s_sleep(2);
    }
    if (global_x() == 0)
        *seen = value;
}

kernel void count(global atomic_uint *counter, uint by) {
    __opencl_atomic_fetch_add(counter, by, memory_order_relaxed, memory_scope_all_svm_devices);
}

// A variable that the host finds by name.
__attribute__((visibility("default"))) global uint table[8] = {1, 2, 3, 4, 5, 6, 7, 8};
kernel void read_table(global uint *out) {
    uint i = global_x();
    if (i < 8)
        out[i] = table[i];
}

// `assert(value < limit)`, as compilers make it: a trap.
kernel void checked(global const uint *values, uint limit) {
    if (values[global_x()] >= limit)
        __builtin_trap();
}
