/* What every HIP program here needs: checks that name what failed, kernels from a module, launches, buffers.
 *
 * Needs HIP's headers and libamdhip64 alone. A program exits with 0 if all its checks hold, and with 1 at the first that
 * does not. Any thread. */
#ifndef COMMON_H
#define COMMON_H

#include <hip/hip_runtime_api.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static unsigned checks;

#define EXPECT(condition, ...)                                                                                         \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: not so: %s", __FILE__, __LINE__, #condition);                                      \
            fprintf(stderr, " -- " __VA_ARGS__);                                                                       \
            fprintf(stderr, "\n");                                                                                     \
            exit(1);                                                                                                   \
        }                                                                                                              \
        __atomic_add_fetch(&checks, 1, __ATOMIC_RELAXED);                                                              \
    } while (0)

/* A call that must give one answer. */
#define GIVES(call, expected)                                                                                          \
    do {                                                                                                               \
        hipError_t error_ = (call);                                                                                    \
        EXPECT(error_ == (expected), "%s: %d %s", #call, error_, hipGetErrorName(error_));                             \
    } while (0)

#define CHECK(call) GIVES(call, hipSuccess)

static inline hipModule_t load(const char *path) {
    hipModule_t module;
    setvbuf(stdout, NULL, _IOLBF, 0);
    CHECK(hipModuleLoad(&module, path));
    return module;
}

static inline hipFunction_t kernel_of(hipModule_t module, const char *name) {
    hipFunction_t function;
    CHECK(hipModuleGetFunction(&function, module, name));
    return function;
}

/* Launches a kernel in one dimension; the arguments are the addresses of its arguments. */
#define LAUNCH(function, groups, size, lds, stream, ...)                                                               \
    do {                                                                                                               \
        void *arguments_[] = {__VA_ARGS__};                                                                            \
        CHECK(hipModuleLaunchKernel(function, groups, 1, 1, size, 1, 1, lds, stream, arguments_, NULL));               \
    } while (0)

static inline void *device_memory(size_t bytes) {
    void *memory = NULL;
    CHECK(hipMalloc(&memory, bytes));
    return memory;
}

static inline void *pinned_memory(size_t bytes) {
    void *memory = NULL;
    CHECK(hipHostMalloc(&memory, bytes, hipHostMallocDefault));
    memset(memory, 0, bytes);
    return memory;
}

/* A number that looks random, the same every time. */
static inline uint32_t scrambled(uint32_t i) {
    i = (i ^ i >> 16) * 0x7feb352d;
    i = (i ^ i >> 15) * 0x846ca68b;
    return i ^ i >> 16;
}

static inline int finish(void) {
    CHECK(hipDeviceSynchronize());
    GIVES(hipGetLastError(), hipSuccess);
    printf("all right: %u checks\n", checks);
    return 0;
}

#endif
