/* Computations with known results: a reduction, a tiled matrix product, a histogram with atomics. */
#include "common.h"
#include <math.h>

static hipModule_t module;

static void reduction(uint32_t n) {
    enum { GROUPS = 64 };
    uint32_t *values = malloc(n * 4), sums[GROUPS], expected = 0, found = 0;
    for (uint32_t i = 0; i < n; i++)
        expected += values[i] = scrambled(i);
    uint32_t *values_gpu = device_memory(n * 4), *sums_gpu = device_memory(sizeof sums);
    CHECK(hipMemcpy(values_gpu, values, n * 4, hipMemcpyHostToDevice));
    LAUNCH(kernel_of(module, "reduce"), GROUPS, 256, 0, NULL, &values_gpu, &sums_gpu, &n);
    CHECK(hipMemcpy(sums, sums_gpu, sizeof sums, hipMemcpyDeviceToHost));
    for (int i = 0; i < GROUPS; i++)
        found += sums[i];
    EXPECT(found == expected, "sum of %u: %#x, expected %#x", n, found, expected);
    CHECK(hipFree(values_gpu));
    CHECK(hipFree(sums_gpu));
    free(values);
}

static void product(uint32_t n) {
    size_t bytes = (size_t)n * n * 4;
    float *a = malloc(bytes), *b = malloc(bytes), *c = malloc(bytes);
    for (uint32_t i = 0; i < n * n; i++) {
        a[i] = (float)(int32_t)scrambled(i) * 0x1p-31f;
        b[i] = (float)(int32_t)scrambled(~i) * 0x1p-31f;
    }
    float *a_gpu = device_memory(bytes), *b_gpu = device_memory(bytes), *c_gpu = device_memory(bytes);
    CHECK(hipMemcpy(a_gpu, a, bytes, hipMemcpyHostToDevice));
    CHECK(hipMemcpy(b_gpu, b, bytes, hipMemcpyHostToDevice));
    void *arguments[] = {&a_gpu, &b_gpu, &c_gpu, &n};
    CHECK(hipModuleLaunchKernel(kernel_of(module, "multiply"), n / 16, n / 16, 1, 16, 16, 1, 0, NULL, arguments, NULL));
    CHECK(hipMemcpy(c, c_gpu, bytes, hipMemcpyDeviceToHost));
    for (uint32_t row = 0; row < n; row++)
        for (uint32_t column = 0; column < n; column++) {
            // The same fused operations in the same order: the same bits.
            float sum = 0;
            for (uint32_t k = 0; k < n; k++)
                sum = fmaf(a[row * n + k], b[k * n + column], sum);
            EXPECT(memcmp(&sum, &c[row * n + column], 4) == 0, "at %u %u: %g, expected %g", row, column, c[row * n + column], sum);
        }
    CHECK(hipFree(a_gpu));
    CHECK(hipFree(b_gpu));
    CHECK(hipFree(c_gpu));
    free(a);
    free(b);
    free(c);
}

static void histogram(uint32_t n, uint32_t bins) {
    uint32_t *values = malloc(n * 4), *expected = calloc(bins, 4), *counts = malloc(bins * 4), zero = 0;
    for (uint32_t i = 0; i < n; i++)
        expected[(values[i] = scrambled(i)) % bins]++;
    uint32_t *values_gpu = device_memory(n * 4), *counts_gpu = device_memory(bins * 4);
    CHECK(hipMemcpy(values_gpu, values, n * 4, hipMemcpyHostToDevice));
    CHECK(hipMemset(counts_gpu, 0, bins * 4));
    LAUNCH(kernel_of(module, "histogram"), 16, 256, bins * 4, NULL, &values_gpu, &counts_gpu, &n, &bins, &zero);
    CHECK(hipMemcpy(counts, counts_gpu, bins * 4, hipMemcpyDeviceToHost));
    for (uint32_t i = 0; i < bins; i++)
        EXPECT(counts[i] == expected[i], "bin %u of %u: %u, expected %u", i, bins, counts[i], expected[i]);
    CHECK(hipFree(values_gpu));
    CHECK(hipFree(counts_gpu));
    free(values);
    free(expected);
    free(counts);
}

int main(int argc, char **argv) {
    EXPECT(argc > 1, "usage: %s KERNELS.co", argv[0]);
    module = load(argv[1]);
    reduction(1);
    reduction(100003);
    product(16);
    product(96);
    histogram(20000, 7);
    histogram(50000, 4096);
    CHECK(hipModuleUnload(module));
    return finish();
}
