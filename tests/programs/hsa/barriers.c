/* Barrier packets: AND waits for all of its five signals, OR for one, neither stops other queues; chains over queues; the
 * barrier bit; completion signals of barriers. */
#include "common.h"
#include <unistd.h>

static void after_a_while(void) { usleep(5000); }

static hsa_signal_t barrier(hsa_queue_t *queue, unsigned type, const hsa_signal_t *signals, unsigned count) {
    hsa_barrier_and_packet_t packet = {.completion_signal = signal_of(1)};
    for (unsigned i = 0; i < count; i++)
        packet.dep_signal[i] = signals[i];
    enqueue(queue, &packet, header(type, false));
    return packet.completion_signal;
}

static void and_waits_for_all(hsa_queue_t *queue, module_t module, hsa_queue_t *other) {
    hsa_signal_t signals[5];
    for (int i = 0; i < 5; i++)
        signals[i] = signal_of(1);
    hsa_signal_t done = barrier(queue, HSA_PACKET_TYPE_BARRIER_AND, signals, 5);
    // In an order that is neither up nor down.
    int order[] = {3, 0, 4, 1, 2};
    for (int i = 0; i < 5; i++) {
        after_a_while();
        EXPECT(hsa_signal_load_scacquire(done) == 1, "complete after %d of 5 signals", i);
        // Another queue works meanwhile.
        uint32_t *x = allocate(fine, 4);
        struct {
            uint32_t *x, by;
        } *arguments = allocate(kernargs, sizeof *arguments);
        *arguments = (typeof(*arguments)){x, 5};
        run(other, kernel_of(module, "step"), arguments, 64, 64);
        EXPECT(*x == 5, "%u", *x);
        release(x);
        release(arguments);
        hsa_signal_subtract_screlease(signals[order[i]], 1);
    }
    await(done);
    for (int i = 0; i < 5; i++)
        CHECK(hsa_signal_destroy(signals[i]));
}

static void or_waits_for_one(hsa_queue_t *queue) {
    for (int which = 0; which < 5; which++) {
        hsa_signal_t signals[5];
        for (int i = 0; i < 5; i++)
            signals[i] = signal_of(1);
        hsa_signal_t done = barrier(queue, HSA_PACKET_TYPE_BARRIER_OR, signals, 5);
        after_a_while();
        EXPECT(hsa_signal_load_scacquire(done) == 1, "complete before any of its signals");
        hsa_signal_store_screlease(signals[which], 0);
        await(done);
        for (int i = 0; i < 5; i++)
            CHECK(hsa_signal_destroy(signals[i]));
    }
}

/* Null signals are ignored; a barrier without any is complete at once, if only its queue gets there. */
static void nothing_to_wait_for(hsa_queue_t *queue) {
    hsa_signal_t zero = signal_of(0);
    await(barrier(queue, HSA_PACKET_TYPE_BARRIER_AND, NULL, 0));
    await(barrier(queue, HSA_PACKET_TYPE_BARRIER_AND, &zero, 1));
    await(barrier(queue, HSA_PACKET_TYPE_BARRIER_OR, &zero, 1));
    CHECK(hsa_signal_destroy(zero));
}

/* One chain of 60 steps over six queues: each step waits for the one before it through a barrier packet, and
 * the first for the host. */
static void chain(module_t module) {
    enum { QUEUES = 6, STEPS = 60 };
    hsa_queue_t *queues[QUEUES];
    hsa_signal_t done[STEPS];
    kernel_t kernel = kernel_of(module, "step");
    struct arguments {
        uint32_t *x, by;
    } *arguments = allocate(kernargs, STEPS * sizeof *arguments);
    uint32_t *x = allocate(vram, 4), *result = allocate(fine, 4), expected = 1;
    *result = 1;
    copy(x, gpu, result, cpu, 4);
    for (int i = 0; i < QUEUES; i++)
        queues[i] = queue_of(256);
    for (int i = 0; i < STEPS; i++)
        done[i] = signal_of(1);
    hsa_signal_t gate = signal_of(1);
    for (int i = 0; i < STEPS; i++) {
        arguments[i] = (struct arguments){x, (uint32_t)i};
        expected = 3 * expected + (uint32_t)i;
        hsa_barrier_and_packet_t wait = {.dep_signal = {i == 0 ? gate : done[i - 1]}};
        hsa_kernel_dispatch_packet_t packet = dispatch_packet(kernel, &arguments[i], 64, 64, done[i]);
        enqueue(queues[i * 5 % QUEUES], &wait, header(HSA_PACKET_TYPE_BARRIER_AND, false));
        enqueue(queues[i * 5 % QUEUES], &packet, header(HSA_PACKET_TYPE_KERNEL_DISPATCH, true));
    }
    after_a_while();
    EXPECT(hsa_signal_load_scacquire(done[0]) == 1, "the chain did not wait for the host");
    hsa_signal_store_screlease(gate, 0);
    wait_for(done[STEPS - 1]);
    copy(result, cpu, x, gpu, 4);
    EXPECT(*result == expected, "%u, expected %u", *result, expected);
    for (int i = 0; i < STEPS; i++) {
        EXPECT(hsa_signal_load_relaxed(done[i]) == 0, "step %d", i);
        CHECK(hsa_signal_destroy(done[i]));
    }
    for (int i = 0; i < QUEUES; i++)
        CHECK(hsa_queue_destroy(queues[i]));
    CHECK(hsa_signal_destroy(gate));
    release(x);
    release(result);
    release(arguments);
}

/* A barrier packet with its barrier bit set is complete only when everything before it in its queue is. */
static void barrier_bit(hsa_queue_t *queue, module_t module) {
    uint32_t *flag = allocate(fine, 4), *seen = allocate(fine, 4);
    struct {
        uint32_t *flag, looks, *seen;
    } *arguments = allocate(kernargs, sizeof *arguments);
    *arguments = (typeof(*arguments)){flag, 50000000, seen};
    hsa_signal_t kernel_done = signal_of(1);
    hsa_kernel_dispatch_packet_t packet = dispatch_packet(kernel_of(module, "wait_flag"), arguments, 64, 64, kernel_done);
    enqueue(queue, &packet, header(HSA_PACKET_TYPE_KERNEL_DISPATCH, false));
    hsa_barrier_and_packet_t last = {.completion_signal = signal_of(1)};
    enqueue(queue, &last, header(HSA_PACKET_TYPE_BARRIER_AND, true));
    usleep(500);
    EXPECT(hsa_signal_load_scacquire(last.completion_signal) == 1, "the barrier passed the kernel before it");
    __atomic_store_n(flag, 9, __ATOMIC_RELEASE);
    await(last.completion_signal);
    EXPECT(hsa_signal_load_scacquire(kernel_done) == 0 && *seen == 9, "the kernel saw %u, its signal is %ld", *seen,
           (long)hsa_signal_load_scacquire(kernel_done));
    CHECK(hsa_signal_destroy(kernel_done));
    release(flag);
    release(seen);
    release(arguments);
}

int main(int argc, char **argv) {
    EXPECT(argc > 1, "usage: %s KERNELS.co", argv[0]);
    start();
    module_t module = load(argv[1]);
    hsa_queue_t *queue = queue_of(64), *other = queue_of(64);
    and_waits_for_all(queue, module, other);
    or_waits_for_one(queue);
    nothing_to_wait_for(queue);
    chain(module);
    for (int i = 0; i < 40; i++)
        barrier_bit(queue, module);
    CHECK(hsa_queue_destroy(queue));
    CHECK(hsa_queue_destroy(other));
    unload(module);
    return finish();
}
