/* Many host threads: into one queue, each into its own, all kinds of calls at once; more queues than the hardware has. */
#include "common.h"
#include <pthread.h>

enum { THREADS = 8, EACH = 60, QUEUES = 40 };

static module_t module;
static hsa_queue_t *shared;
static uint32_t *total;

typedef struct {
    uint32_t *counter, by;
} count_t;

static void *count_in_shared_queue(void *unused) {
    (void)unused;
    kernel_t kernel = kernel_of(module, "count");
    count_t *arguments = allocate(kernargs, sizeof *arguments);
    *arguments = (count_t){total, 1};
    hsa_signal_t done = signal_of(EACH);
    hsa_kernel_dispatch_packet_t packet = dispatch_packet(kernel, arguments, 64, 64, done);
    for (int i = 0; i < EACH; i++)
        enqueue(shared, &packet, header(HSA_PACKET_TYPE_KERNEL_DISPATCH, i % 7 == 0));
    await(done);
    release(arguments);
    return NULL;
}

static void *everything(void *which) {
    uint32_t self = (uint32_t)(uintptr_t)which, bytes = 4096 + self * 100;
    for (int round = 0; round < 5; round++) {
        hsa_queue_t *queue = queue_of(64);
        char *host = allocate(fine, bytes), *device = allocate(vram, bytes), *back = allocate(fine, bytes);
        memset(host, (int)self + round, bytes);
        copy(device, gpu, host, cpu, bytes);
        copy(back, cpu, device, gpu, bytes);
        EXPECT(memcmp(host, back, bytes) == 0, "thread %u, round %d", self, round);
        count_t *arguments = allocate(kernargs, sizeof *arguments);
        uint32_t *own = allocate(fine, 4);
        *arguments = (count_t){own, self};
        run(queue, kernel_of(module, "count"), arguments, 256, 64);
        EXPECT(*own == 256 * self, "thread %u counted %u", self, *own);
        release(arguments);
        release(own);
        release(host);
        release(device);
        release(back);
        CHECK(hsa_queue_destroy(queue));
    }
    return NULL;
}

static void in_threads(void *(*body)(void *)) {
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        EXPECT(pthread_create(&threads[i], NULL, body, (void *)i) == 0, "no thread");
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static void many_queues(void) {
    hsa_queue_t *queues[QUEUES];
    hsa_signal_t done = signal_of(QUEUES * 4);
    kernel_t kernel = kernel_of(module, "count");
    count_t *arguments = allocate(kernargs, sizeof *arguments);
    *total = 0;
    *arguments = (count_t){total, 3};
    for (int i = 0; i < QUEUES; i++)
        queues[i] = queue_of(64);
    hsa_kernel_dispatch_packet_t packet = dispatch_packet(kernel, arguments, 64, 64, done);
    for (int round = 0; round < 4; round++)
        for (int i = 0; i < QUEUES; i++)
            enqueue(queues[i], &packet, header(HSA_PACKET_TYPE_KERNEL_DISPATCH, false));
    await(done);
    EXPECT(*total == QUEUES * 4 * 64 * 3, "%u", *total);
    for (int i = 0; i < QUEUES; i++)
        CHECK(hsa_queue_destroy(queues[i]));
    release(arguments);
}

int main(int argc, char **argv) {
    EXPECT(argc > 1, "usage: %s KERNELS.co", argv[0]);
    start();
    module = load(argv[1]);
    total = allocate(fine, 4);
    shared = queue_of(128);
    in_threads(count_in_shared_queue);
    EXPECT(*total == THREADS * EACH * 64, "%u", *total);
    in_threads(everything);
    many_queues();
    CHECK(hsa_queue_destroy(shared));
    release(total);
    unload(module);
    return finish();
}
