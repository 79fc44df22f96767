// Layers of a multi-layer perceptron on row-major f32 matrices.
#include "grid.h"

#define TILE 16

// c[m x n] = a[m x k] * b[k x n]. Workgroups of 16 x 16; grid (n, m) rounded up to whole workgroups.
// Tiles of a and b go through LDS; any m, n, k.
kernel __attribute__((reqd_work_group_size(TILE, TILE, 1)))
void matmul_tiled(global const float *a, global const float *b, global float *c, uint m, uint n, uint k) {
    local float tile_a[TILE][TILE];
    local float tile_b[TILE][TILE];
    uint x = local_x(), y = local_y();
    uint column = group_x() * TILE + x, row = group_y() * TILE + y;
    float sum = 0.0f;
    for (uint start = 0; start < k; start += TILE) {
        uint ka = start + x, kb = start + y;
        tile_a[y][x] = row < m && ka < k ? a[(ulong)row * k + ka] : 0.0f;
        tile_b[y][x] = kb < k && column < n ? b[(ulong)kb * n + column] : 0.0f;
        group_barrier();
        for (uint i = 0; i < TILE; i++)
            sum += tile_a[y][i] * tile_b[i][x];
        group_barrier();
    }
    if (row < m && column < n)
        c[(ulong)row * n + column] = sum;
}

// x[row][column] += bias[column], in place. Grid (columns, rows).
kernel void bias(global float *x, global const float *values, uint rows, uint columns) {
    uint column = global_x(), row = global_y();
    if (row < rows && column < columns)
        x[(ulong)row * columns + column] += values[column];
}

// x[row][column] = max(0, x[row][column] + bias[column]), in place. Grid (columns, rows).
kernel void bias_relu(global float *x, global const float *values, uint rows, uint columns) {
    uint column = global_x(), row = global_y();
    if (row < rows && column < columns) {
        ulong i = (ulong)row * columns + column;
        x[i] = __builtin_fmaxf(x[i] + values[column], 0.0f);
    }
}

#define LANES 64

// out[row] = softmax(x[row]). One workgroup of 64 lanes for each row: grid (64, rows). columns >= 1.
kernel __attribute__((reqd_work_group_size(LANES, 1, 1)))
void softmax(global const float *x, global float *out, uint rows, uint columns) {
    local float partial[LANES];
    uint lane = local_x(), row = group_y();
    if (row >= rows)
        return;
    x += (ulong)row * columns;
    out += (ulong)row * columns;

    float largest = -__builtin_inff();
    for (uint i = lane; i < columns; i += LANES)
        largest = __builtin_fmaxf(largest, x[i]);
    partial[lane] = largest;
    group_barrier();
    for (uint step = LANES / 2; step > 0; step /= 2) {
        if (lane < step)
            partial[lane] = __builtin_fmaxf(partial[lane], partial[lane + step]);
        group_barrier();
    }
    largest = partial[0];
    group_barrier();

    float sum = 0.0f;
    for (uint i = lane; i < columns; i += LANES) {
        float e = __builtin_exp2f((x[i] - largest) * 1.44269504f);
        out[i] = e;
        sum += e;
    }
    partial[lane] = sum;
    group_barrier();
    for (uint step = LANES / 2; step > 0; step /= 2) {
        if (lane < step)
            partial[lane] += partial[lane + step];
        group_barrier();
    }
    float scale = __builtin_amdgcn_rcpf(partial[0]);
    for (uint i = lane; i < columns; i += LANES)
        out[i] *= scale;
}

// out[row] = index of the largest value of x[row], the first of equals. Grid (64, rows), workgroups of 64.
kernel __attribute__((reqd_work_group_size(LANES, 1, 1)))
void argmax(global const float *x, global uint *out, uint rows, uint columns) {
    local float values[LANES];
    local uint indices[LANES];
    uint lane = local_x(), row = group_y();
    if (row >= rows)
        return;
    x += (ulong)row * columns;

    float best = -__builtin_inff();
    uint at = ~0u;
    for (uint i = lane; i < columns; i += LANES) {
        float v = x[i];
        if (at == ~0u || v > best) {
            best = v;
            at = i;
        }
    }
    values[lane] = best;
    indices[lane] = at;
    group_barrier();
    for (uint step = LANES / 2; step > 0; step /= 2) {
        if (lane < step) {
            float v = values[lane + step];
            uint i = indices[lane + step];
            if (v > values[lane] || (v == values[lane] && i < indices[lane])) {
                values[lane] = v;
                indices[lane] = i;
            }
        }
        group_barrier();
    }
    if (lane == 0)
        out[row] = indices[0];
}
