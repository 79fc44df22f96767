/* An ordinary HIP program: it knows nothing of the simulator. AMD's libamdhip64 is found at run time, so that building
 * this needs only a C compiler; the prototypes below are those of hip_runtime_api.h (HIP 5).
 *
 * program VECTOR.co PROBE.co: copies both ways, a stream on eight compute units, kernels launched from modules.
 * Exit status: 0 all results right, 1 wrong result or failed call, 77 libamdhip64 is not installed. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HOST_TO_DEVICE = 1, DEVICE_TO_HOST = 2 };
enum { N = 100003, GROUP = 256, PROBES = 256 };

#define FUNCTIONS(X)                                                                                                   \
    X(hipInit, (unsigned))                                                                                             \
    X(hipGetDeviceCount, (int *))                                                                                      \
    X(hipMalloc, (void **, size_t))                                                                                    \
    X(hipFree, (void *))                                                                                               \
    X(hipMemcpy, (void *, const void *, size_t, int))                                                                  \
    X(hipExtStreamCreateWithCUMask, (void **, uint32_t, const uint32_t *))                                             \
    X(hipStreamSynchronize, (void *))                                                                                  \
    X(hipStreamDestroy, (void *))                                                                                      \
    X(hipModuleLoad, (void **, const char *))                                                                          \
    X(hipModuleUnload, (void *))                                                                                       \
    X(hipModuleGetFunction, (void **, void *, const char *))                                                           \
    X(hipModuleLaunchKernel, (void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *,    \
                              void **, void **))

#define DECLARE(name, arguments) static int(*name) arguments;
FUNCTIONS(DECLARE)

#define CHECK(call)                                                                                                    \
    do {                                                                                                               \
        int status_ = (call);                                                                                          \
        if (status_ != 0) {                                                                                            \
            fprintf(stderr, "%s: HIP error %d\n", #call, status_);                                                     \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static void wrong(const char *what, unsigned index, double found, double expected) {
    fprintf(stderr, "%s[%u] is %g, expected %g\n", what, index, found, expected);
    exit(1);
}

static void copies(void) {
    size_t bytes = 3000001;
    unsigned char *out = malloc(bytes), *back = calloc(bytes, 1);
    void *device;
    for (size_t i = 0; i < bytes; i++)
        out[i] = (unsigned char)(i * 31 + i / 257);
    CHECK(hipMalloc(&device, bytes));
    CHECK(hipMemcpy(device, out, bytes, HOST_TO_DEVICE));
    CHECK(hipMemcpy(back, device, bytes, DEVICE_TO_HOST));
    for (size_t i = 0; i < bytes; i++)
        if (out[i] != back[i])
            wrong("copy", (unsigned)i, back[i], out[i]);
    CHECK(hipFree(device));
    free(out);
    free(back);
    printf("copies: %zu bytes there and back\n", bytes);
}

static void saxpy(const char *file, void *stream) {
    void *module, *function, *x_gpu, *y_gpu;
    float *x = malloc(N * 4), *y = malloc(N * 4), alpha = 2.5f;
    uint32_t n = N;
    for (unsigned i = 0; i < N; i++) {
        x[i] = (float)(i % 1000);
        y[i] = (float)(i % 77) - 30.0f;
    }
    CHECK(hipModuleLoad(&module, file));
    CHECK(hipModuleGetFunction(&function, module, "saxpy"));
    CHECK(hipMalloc(&x_gpu, N * 4));
    CHECK(hipMalloc(&y_gpu, N * 4));
    CHECK(hipMemcpy(x_gpu, x, N * 4, HOST_TO_DEVICE));
    CHECK(hipMemcpy(y_gpu, y, N * 4, HOST_TO_DEVICE));
    void *arguments[] = {&alpha, &x_gpu, &y_gpu, &n};
    CHECK(hipModuleLaunchKernel(function, (N + GROUP - 1) / GROUP, 1, 1, GROUP, 1, 1, 0, stream, arguments, NULL));
    CHECK(hipStreamSynchronize(stream));
    float *result = malloc(N * 4);
    CHECK(hipMemcpy(result, y_gpu, N * 4, DEVICE_TO_HOST));
    for (unsigned i = 0; i < N; i++)
        if (result[i] != alpha * x[i] + y[i])
            wrong("saxpy", i, result[i], alpha * x[i] + y[i]);
    CHECK(hipFree(x_gpu));
    CHECK(hipFree(y_gpu));
    CHECK(hipModuleUnload(module));
    free(x);
    free(y);
    free(result);
    printf("saxpy: %d elements right\n", N);
}

/* Bit i of a mask is compute unit i / 4 of shader engine i % 4 on this GPU. */
static void probe(const char *file, void *stream, uint32_t mask) {
    void *module, *function, *ids_gpu;
    uint32_t ids[PROBES], spin = 10, seen = 0;
    CHECK(hipModuleLoad(&module, file));
    CHECK(hipModuleGetFunction(&function, module, "probe_hw_id"));
    CHECK(hipMalloc(&ids_gpu, sizeof ids));
    void *arguments[] = {&ids_gpu, &spin};
    CHECK(hipModuleLaunchKernel(function, PROBES, 1, 1, GROUP, 1, 1, 0, stream, arguments, NULL));
    CHECK(hipStreamSynchronize(stream));
    CHECK(hipMemcpy(ids, ids_gpu, sizeof ids, DEVICE_TO_HOST));
    for (unsigned i = 0; i < PROBES; i++) {
        unsigned cu = ids[i] >> 8 & 15, engine = ids[i] >> 13 & 3, bit = cu * 4 + engine;
        if (bit >= 32 || !(mask >> bit & 1))
            wrong("mask bit of workgroup", i, bit, mask);
        seen |= 1u << bit;
    }
    if (seen != mask)
        wrong("compute units seen", 0, seen, mask);
    CHECK(hipFree(ids_gpu));
    CHECK(hipModuleUnload(module));
    printf("probe: %d workgroups on the compute units of mask %#x\n", PROBES, mask);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s VECTOR.co PROBE.co\n", argv[0]);
        return 1;
    }
    void *hip = dlopen("libamdhip64.so.5", RTLD_NOW | RTLD_LOCAL);
    if (!hip) {
        fprintf(stderr, "%s\n", dlerror());
        return 77;
    }
#define FIND(name, arguments)                                                                                          \
    *(void **)&name = dlsym(hip, #name);                                                                               \
    if (!name) {                                                                                                       \
        fprintf(stderr, "%s\n", dlerror());                                                                            \
        return 1;                                                                                                      \
    }
    FUNCTIONS(FIND)
    int devices = 0;
    CHECK(hipInit(0));
    CHECK(hipGetDeviceCount(&devices));
    printf("%d device(s)\n", devices);
    copies();
    uint32_t mask[2] = {0xff, 0};
    void *stream;
    CHECK(hipExtStreamCreateWithCUMask(&stream, 2, mask));
    saxpy(argv[1], stream);
    probe(argv[2], stream, mask[0]);
    CHECK(hipStreamDestroy(stream));
    saxpy(argv[1], NULL);
    printf("all right\n");
    return 0;
}
