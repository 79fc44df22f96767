/* Streams: work in order within one, independent between two, ordered by events; the null stream's order; priorities; queries. */
#include "common.h"
#include <unistd.h>

static hipModule_t module;

static void in_order(void) {
    hipStream_t stream;
    CHECK(hipStreamCreate(&stream));
    uint32_t *x = device_memory(4), expected = 0, result;
    hipFunction_t step = kernel_of(module, "step");
    CHECK(hipMemsetAsync(x, 0, 4, stream));
    for (uint32_t i = 0; i < 300; i++) {
        LAUNCH(step, 1, 64, 0, stream, &x, &i);
        expected = 3 * expected + i;
    }
    CHECK(hipMemcpyAsync(&result, x, 4, hipMemcpyDeviceToHost, stream));
    CHECK(hipStreamSynchronize(stream));
    EXPECT(result == expected, "%u, expected %u", result, expected);
    GIVES(hipStreamQuery(stream), hipSuccess);
    CHECK(hipStreamDestroy(stream));
    CHECK(hipFree(x));
}

/* A kernel that waits for the host in one stream does not hold up another. */
static void independent(void) {
    hipStream_t held, other;
    CHECK(hipStreamCreateWithFlags(&held, hipStreamNonBlocking));
    CHECK(hipStreamCreateWithFlags(&other, hipStreamNonBlocking));
    uint32_t *flag = pinned_memory(4), *seen = pinned_memory(4), *x = pinned_memory(4), looks = 2000000000, by = 5;
    LAUNCH(kernel_of(module, "wait_flag"), 1, 64, 0, held, &flag, &looks, &seen);
    GIVES(hipStreamQuery(held), hipErrorNotReady);
    LAUNCH(kernel_of(module, "step"), 1, 64, 0, other, &x, &by);
    CHECK(hipStreamSynchronize(other));
    EXPECT(*x == 5, "%u", *x);
    GIVES(hipStreamQuery(held), hipErrorNotReady);
    __atomic_store_n(flag, 3, __ATOMIC_RELEASE);
    CHECK(hipStreamSynchronize(held));
    EXPECT(*seen == 3, "the kernel saw %u", *seen);
    CHECK(hipStreamDestroy(held));
    CHECK(hipStreamDestroy(other));
    CHECK(hipHostFree(flag));
    CHECK(hipHostFree(seen));
    CHECK(hipHostFree(x));
}

/* A chain that hops between four streams, ordered by events alone. */
static void hopping(void) {
    enum { STREAMS = 4, STEPS = 60 };
    hipStream_t streams[STREAMS];
    hipEvent_t events[STEPS];
    uint32_t *x = device_memory(4), expected = 1, result = 1;
    hipFunction_t step = kernel_of(module, "step");
    for (int i = 0; i < STREAMS; i++)
        CHECK(hipStreamCreateWithFlags(&streams[i], hipStreamNonBlocking));
    CHECK(hipMemcpy(x, &result, 4, hipMemcpyHostToDevice));
    for (uint32_t i = 0; i < STEPS; i++) {
        hipStream_t stream = streams[i * 7 % STREAMS];
        CHECK(hipEventCreateWithFlags(&events[i], hipEventDisableTiming));
        if (i > 0)
            CHECK(hipStreamWaitEvent(stream, events[i - 1], 0));
        LAUNCH(step, 1, 64, 0, stream, &x, &i);
        CHECK(hipEventRecord(events[i], stream));
        expected = 3 * expected + i;
    }
    CHECK(hipEventSynchronize(events[STEPS - 1]));
    CHECK(hipMemcpy(&result, x, 4, hipMemcpyDeviceToHost));
    EXPECT(result == expected, "%u, expected %u", result, expected);
    for (int i = 0; i < STEPS; i++)
        CHECK(hipEventDestroy(events[i]));
    for (int i = 0; i < STREAMS; i++)
        CHECK(hipStreamDestroy(streams[i]));
    CHECK(hipFree(x));
}

/* The null stream waits for blocking streams, and they for it. */
static void null_stream(void) {
    hipStream_t blocking;
    CHECK(hipStreamCreate(&blocking));
    uint32_t *x = device_memory(4), expected = 0, result;
    hipFunction_t step = kernel_of(module, "step");
    CHECK(hipMemset(x, 0, 4));
    for (uint32_t i = 0; i < 60; i++) {
        LAUNCH(step, 1, 64, 0, i % 2 ? blocking : NULL, &x, &i);
        expected = 3 * expected + i;
    }
    CHECK(hipDeviceSynchronize());
    CHECK(hipMemcpy(&result, x, 4, hipMemcpyDeviceToHost));
    EXPECT(result == expected, "%u, expected %u", result, expected);
    CHECK(hipStreamDestroy(blocking));
    CHECK(hipFree(x));
}

static void priorities(void) {
    int least, greatest;
    CHECK(hipDeviceGetStreamPriorityRange(&least, &greatest));
    EXPECT(least > greatest, "priorities %d to %d", least, greatest);
    uint32_t *x = pinned_memory(4), by = 1;
    for (int priority = greatest; priority <= least; priority++) {
        hipStream_t stream;
        int found;
        CHECK(hipStreamCreateWithPriority(&stream, hipStreamNonBlocking, priority));
        CHECK(hipStreamGetPriority(stream, &found));
        EXPECT(found == priority, "priority %d, asked for %d", found, priority);
        *x = 10;
        LAUNCH(kernel_of(module, "step"), 1, 64, 0, stream, &x, &by);
        CHECK(hipStreamSynchronize(stream));
        EXPECT(*x == 31, "at priority %d: %u", priority, *x);
        CHECK(hipStreamDestroy(stream));
    }
    CHECK(hipHostFree(x));
}

/* More streams than hardware queues. */
static void many(void) {
    enum { STREAMS = 40 };
    hipStream_t streams[STREAMS];
    uint32_t *x = pinned_memory(4 * STREAMS);
    for (uint32_t i = 0; i < STREAMS; i++)
        CHECK(hipStreamCreateWithFlags(&streams[i], hipStreamNonBlocking));
    for (uint32_t round = 0; round < 3; round++)
        for (uint32_t i = 0; i < STREAMS; i++) {
            uint32_t *at = x + i;
            LAUNCH(kernel_of(module, "step"), 1, 64, 0, streams[i], &at, &i);
        }
    CHECK(hipDeviceSynchronize());
    for (uint32_t i = 0; i < STREAMS; i++) {
        EXPECT(x[i] == 13 * i, "stream %u: %u", i, x[i]);
        CHECK(hipStreamDestroy(streams[i]));
    }
    CHECK(hipHostFree(x));
}

int main(int argc, char **argv) {
    EXPECT(argc > 1, "usage: %s KERNELS.co", argv[0]);
    module = load(argv[1]);
    in_order();
    independent();
    hopping();
    null_stream();
    priorities();
    many();
    CHECK(hipModuleUnload(module));
    return finish();
}
