/* Host threads: each with a stream, buffers and events of its own, and all in the null stream at once. */
#include "common.h"
#include <pthread.h>

enum { THREADS = 6, ROUNDS = 6, N = 3000 };

static hipModule_t module;
static uint32_t *total;

static void *own_stream(void *which) {
    uint32_t self = (uint32_t)(uintptr_t)which, n = N;
    hipStream_t stream;
    hipEvent_t event;
    CHECK(hipSetDevice(0));
    CHECK(hipStreamCreateWithFlags(&stream, hipStreamNonBlocking));
    CHECK(hipEventCreate(&event));
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t *device = device_memory(N * 4), *host = pinned_memory(N * 4), first = self * 1000 + round;
        LAUNCH(kernel_of(module, "fill"), (N + 255) / 256, 256, 0, stream, &device, &first, &n);
        CHECK(hipMemcpyAsync(host, device, N * 4, hipMemcpyDeviceToHost, stream));
        CHECK(hipEventRecord(event, stream));
        CHECK(hipEventSynchronize(event));
        for (uint32_t i = 0; i < N; i++)
            EXPECT(host[i] == first + i, "thread %u, round %u, element %u", self, round, i);
        CHECK(hipFree(device));
        CHECK(hipHostFree(host));
    }
    CHECK(hipEventDestroy(event));
    CHECK(hipStreamDestroy(stream));
    return NULL;
}

static void *null_stream(void *unused) {
    (void)unused;
    uint32_t by = 1;
    for (int i = 0; i < 40; i++)
        LAUNCH(kernel_of(module, "count"), 1, 64, 0, NULL, &total, &by);
    CHECK(hipStreamSynchronize(NULL));
    return NULL;
}

static void in_threads(void *(*body)(void *)) {
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        EXPECT(pthread_create(&threads[i], NULL, body, (void *)i) == 0, "no thread");
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

int main(int argc, char **argv) {
    EXPECT(argc > 1, "usage: %s KERNELS.co", argv[0]);
    module = load(argv[1]);
    total = pinned_memory(4);
    in_threads(own_stream);
    in_threads(null_stream);
    EXPECT(*total == THREADS * 40 * 64, "%u", *total);
    CHECK(hipHostFree(total));
    CHECK(hipModuleUnload(module));
    return finish();
}
