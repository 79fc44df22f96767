/* Times: of dispatches and copies, in order and inside what the host saw; clocks that agree; none unless asked for. */
#include "common.h"

static uint64_t now(void) {
    uint64_t time;
    CHECK(hsa_system_get_info(HSA_SYSTEM_INFO_TIMESTAMP, &time));
    return time;
}

int main(int argc, char **argv) {
    enum { N = 20 };
    EXPECT(argc > 1, "usage: %s KERNELS.co", argv[0]);
    start();
    uint64_t began = now(), frequency;
    module_t module = load(argv[1]);
    CHECK(hsa_system_get_info(HSA_SYSTEM_INFO_TIMESTAMP_FREQUENCY, &frequency));
    EXPECT(frequency == 1000000000, "%lu Hz", (unsigned long)frequency);
    hsa_queue_t *queue = queue_of(64);
    CHECK(hsa_amd_profiling_set_profiler_enabled(queue, 1));
    struct {
        uint32_t *x, by;
    } *arguments = allocate(kernargs, sizeof *arguments);
    *arguments = (typeof(*arguments)){allocate(fine, 4), 1};
    kernel_t kernel = kernel_of(module, "step");
    hsa_signal_t done[N];
    hsa_amd_profiling_dispatch_time_t time, last = {0};
    run(queue, kernel, arguments, 64, 64);
    uint64_t before = now();
    for (int i = 0; i < N; i++) {
        done[i] = signal_of(1);
        hsa_kernel_dispatch_packet_t packet = dispatch_packet(kernel, arguments, 64 * (1 + i % 3), 64, done[i]);
        enqueue(queue, &packet, header(HSA_PACKET_TYPE_KERNEL_DISPATCH, true));
    }
    wait_for(done[N - 1]);
    uint64_t after = now();
    for (int i = 0; i < N; i++) {
        CHECK(hsa_amd_profiling_get_dispatch_time(gpu, done[i], &time));
        EXPECT(time.start < time.end, "dispatch %d took %ld ns", i, (long)(time.end - time.start));
        EXPECT(i == 0 || time.start >= last.end, "dispatch %d began before the one before it ended", i);
        // A dispatch of 64 lanes for a second: the clocks do not agree.
        EXPECT(time.end - time.start < 1000000000, "dispatch %d took %ld ns", i, (long)(time.end - time.start));
        // The translation of the GPU's clock is exact to a millisecond, but the simulated clock stands still while kernels
        // are interpreted: it may be behind by as much as this program has run.
        EXPECT(time.start + (before - began) + 1000000 > before && time.end < after + 1000000,
               "dispatch %d is %ld ns before, %ld after the host's time", i, (long)(before - time.start),
               (long)(time.end - after));
        last = time;
        CHECK(hsa_signal_destroy(done[i]));
    }

    // Copies, once profiling of them is on.
    CHECK(hsa_amd_profiling_async_copy_enable(true));
    char *host = allocate(fine, 1 << 20), *device = allocate(vram, 1 << 20);
    hsa_signal_t copied = signal_of(1);
    CHECK(hsa_amd_memory_async_copy(device, gpu, host, cpu, 1 << 20, 0, NULL, copied));
    EXPECT(wait_for(copied) == 0, "the copy failed");
    hsa_amd_profiling_async_copy_time_t copy_time;
    CHECK(hsa_amd_profiling_get_async_copy_time(copied, &copy_time));
    EXPECT(copy_time.start < copy_time.end, "the copy took %ld ns", (long)(copy_time.end - copy_time.start));
    // PCIe 4.0 x16, 31.5 GB/s, moves a MiB in more than 33 us.
    EXPECT(copy_time.end - copy_time.start > 33000, "the copy took %ld ns", (long)(copy_time.end - copy_time.start));
    CHECK(hsa_amd_profiling_async_copy_enable(false));
    CHECK(hsa_signal_destroy(copied));

    // The GPU's ticks, translated: 25 million a second on this GPU.
    uint64_t first, second;
    CHECK(hsa_amd_profiling_convert_tick_to_system_domain(gpu, 1000000, &first));
    CHECK(hsa_amd_profiling_convert_tick_to_system_domain(gpu, 26000000, &second));
    EXPECT(second - first > 990000000 && second - first < 1010000000, "25 million ticks are %ld ns", (long)(second - first));
    release(host);
    release(device);
    release(arguments->x);
    release(arguments);
    CHECK(hsa_queue_destroy(queue));
    unload(module);
    return finish();
}
