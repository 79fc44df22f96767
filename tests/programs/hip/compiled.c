/* HIP C++ compiled by HIP itself when this runs (hiprtc): the compiler, device library and kernels are all AMD's way. */
#include "common.h"
#include <hip/hiprtc.h>
#include <math.h>

static const char source[] =
    "extern \"C\" __global__ void wave(const float *x, float *out, int n) {\n"
    "    int i = blockIdx.x * blockDim.x + threadIdx.x;\n"
    "    if (i < n) out[i] = sinf(x[i]) * expf(-x[i]) + sqrtf(x[i]) + fmaf(x[i], 0.5f, logf(x[i] + 1));\n"
    "}\n"
    "extern \"C\" __global__ void prefix(const int *in, int *out) {\n"
    "    __shared__ int buffer[2][256];\n"
    "    int lane = threadIdx.x, from = 0;\n"
    "    buffer[0][lane] = in[blockIdx.x * 256 + lane];\n"
    "    __syncthreads();\n"
    "    for (int step = 1; step < 256; step *= 2, from ^= 1) {\n"
    "        buffer[from ^ 1][lane] = buffer[from][lane] + (lane >= step ? buffer[from][lane - step] : 0);\n"
    "        __syncthreads();\n"
    "    }\n"
    "    out[blockIdx.x * 256 + lane] = buffer[from][lane];\n"
    "}\n"
    "template <typename T> __device__ T across(T value) {\n"
    "    for (int step = 32; step > 0; step /= 2) value += __shfl_xor(value, step);\n"
    "    return value;\n"
    "}\n"
    "extern \"C\" __global__ void waves(const int *in, int *sums, unsigned long long *even) {\n"
    "    int i = blockIdx.x * blockDim.x + threadIdx.x, sum = across(in[i]);\n"
    "    unsigned long long ballot = __ballot(in[i] % 2 == 0);\n"
    "    if (threadIdx.x % 64 == 0) { atomicAdd(sums, sum); atomicAdd(even, (unsigned long long)__popcll(ballot)); }\n"
    "}\n";

#define COMPILED(call)                                                                                                 \
    do {                                                                                                               \
        hiprtcResult result_ = (call);                                                                                 \
        EXPECT(result_ == HIPRTC_SUCCESS, "%s: %s", #call, hiprtcGetErrorString(result_));                             \
    } while (0)

static hipModule_t compile(void) {
    hiprtcProgram program;
    const char *options[] = {"--gpu-architecture=gfx906", "-O3"};
    COMPILED(hiprtcCreateProgram(&program, source, "compiled.hip", 0, NULL, NULL));
    hiprtcResult result = hiprtcCompileProgram(program, 2, options);
    size_t size;
    if (result != HIPRTC_SUCCESS && hiprtcGetProgramLogSize(program, &size) == HIPRTC_SUCCESS) {
        char *log = calloc(size + 1, 1);
        hiprtcGetProgramLog(program, log);
        fprintf(stderr, "%s\n", log);
    }
    COMPILED(result);
    COMPILED(hiprtcGetCodeSize(program, &size));
    char *code = malloc(size);
    COMPILED(hiprtcGetCode(program, code));
    COMPILED(hiprtcDestroyProgram(&program));
    hipModule_t module;
    CHECK(hipModuleLoadData(&module, code));
    free(code);
    return module;
}

int main(void) {
    enum { N = 1 << 12 };
    CHECK(hipInit(0));
    hipModule_t module = compile();
    float *x = pinned_memory(N * 4), *out = pinned_memory(N * 4);
    int n = N;
    for (int i = 0; i < N; i++)
        x[i] = (float)i * 0.01f;
    LAUNCH(kernel_of(module, "wave"), N / 256, 256, 0, NULL, &x, &out, &n);
    CHECK(hipDeviceSynchronize());
    for (int i = 0; i < N; i++) {
        double v = x[i], expected = sin(v) * exp(-v) + sqrt(v) + v * 0.5 + log(v + 1);
        EXPECT(fabs(out[i] - expected) <= 4e-6 * (1 + fabs(expected)), "at %g: %.9g, expected %.9g", v, out[i], expected);
    }

    int *in = pinned_memory(N * 4), *sums = pinned_memory(N * 4), sum = 0, all = 0;
    for (int i = 0; i < N; i++)
        all += in[i] = (int)(scrambled((uint32_t)i) % 1000);
    LAUNCH(kernel_of(module, "prefix"), N / 256, 256, 0, NULL, &in, &sums);
    CHECK(hipDeviceSynchronize());
    unsigned long long *even = pinned_memory(8), evens = 0;
    for (int i = 0; i < N; i++) {
        sum = i % 256 ? sum + in[i] : in[i];
        EXPECT(sums[i] == sum, "prefix sum %d: %d, expected %d", i, sums[i], sum);
        evens += in[i] % 2 == 0;
    }
    sums[0] = 0;
    LAUNCH(kernel_of(module, "waves"), N / 128, 128, 0, NULL, &in, &sums, &even);
    CHECK(hipDeviceSynchronize());
    EXPECT(sums[0] == all, "sum %d, expected %d", sums[0], all);
    EXPECT(*even == evens, "%llu even ones, expected %llu", *even, evens);
    CHECK(hipHostFree(x));
    CHECK(hipHostFree(out));
    CHECK(hipHostFree(in));
    CHECK(hipHostFree(sums));
    CHECK(hipHostFree(even));
    CHECK(hipModuleUnload(module));
    return finish();
}
