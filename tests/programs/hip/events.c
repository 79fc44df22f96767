/* Events: elapsed times that are positive, additive and no longer than the host saw; queries; errors. */
#include "common.h"

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

int main(int argc, char **argv) {
    EXPECT(argc > 1, "usage: %s KERNELS.co", argv[0]);
    hipModule_t module = load(argv[1]);
    hipStream_t stream;
    CHECK(hipStreamCreate(&stream));
    enum { EVENTS = 5, N = 1 << 16 };
    hipEvent_t events[EVENTS], untimed;
    float *x = device_memory(N * 4), *y = device_memory(N * 4), a = 2;
    CHECK(hipMemset(x, 0, N * 4));
    CHECK(hipMemset(y, 0, N * 4));
    CHECK(hipDeviceSynchronize());
    for (int i = 0; i < EVENTS; i++)
        CHECK(hipEventCreate(&events[i]));
    CHECK(hipEventCreateWithFlags(&untimed, hipEventDisableTiming | hipEventBlockingSync));
    float ms;
    GIVES(hipEventElapsedTime(&ms, events[0], events[1]), hipErrorInvalidHandle);

    double before = seconds();
    for (int i = 0; i < EVENTS; i++) {
        CHECK(hipEventRecord(events[i], stream));
        uint32_t n = N;
        for (int k = 0; k <= i; k++)
            LAUNCH(kernel_of(module, "scale_add"), N / 256, 256, 0, stream, &x, &y, &a, &n);
    }
    CHECK(hipEventRecord(untimed, stream));
    CHECK(hipEventSynchronize(untimed));
    double host_ms = (seconds() - before) * 1e3;
    float sum = 0, whole;
    for (int i = 0; i + 1 < EVENTS; i++) {
        GIVES(hipEventQuery(events[i]), hipSuccess);
        CHECK(hipEventElapsedTime(&ms, events[i], events[i + 1]));
        EXPECT(ms > 0, "%d to %d: %g ms", i, i + 1, ms);
        sum += ms;
    }
    CHECK(hipEventElapsedTime(&whole, events[0], events[EVENTS - 1]));
    EXPECT(whole > sum * 0.999f - 0.001f && whole < sum * 1.001f + 0.001f, "%g ms, the parts %g ms", whole, sum);
    EXPECT(whole < host_ms + 1, "%g ms, the host saw %g ms", whole, host_ms);
    CHECK(hipEventElapsedTime(&ms, events[2], events[1]));
    EXPECT(ms < 0, "backwards: %g ms", ms);
    GIVES(hipEventElapsedTime(&ms, events[0], untimed), hipErrorInvalidHandle);
    GIVES(hipEventRecord(NULL, stream), hipErrorInvalidHandle);

    // Recorded again, it is not complete until the work before it is.
    uint32_t *flag, *seen, looks = 2000000000;
    CHECK(hipHostMalloc((void **)&flag, 8, 0));
    seen = flag + 1;
    *flag = *seen = 0;
    LAUNCH(kernel_of(module, "wait_flag"), 1, 64, 0, stream, &flag, &looks, &seen);
    CHECK(hipEventRecord(events[0], stream));
    GIVES(hipEventQuery(events[0]), hipErrorNotReady);
    __atomic_store_n(flag, 1, __ATOMIC_RELEASE);
    CHECK(hipEventSynchronize(events[0]));
    EXPECT(*seen == 1, "%u", *seen);
    for (int i = 0; i < EVENTS; i++)
        CHECK(hipEventDestroy(events[i]));
    CHECK(hipEventDestroy(untimed));
    CHECK(hipHostFree(flag));
    CHECK(hipFree(x));
    CHECK(hipFree(y));
    CHECK(hipStreamDestroy(stream));
    CHECK(hipModuleUnload(module));
    return finish();
}
