/* A queue that the host serves: kernels and host threads put agent-dispatch packets into it, the host answers them. */
#include "common.h"
#include <pthread.h>

enum { ASKERS = 40, HOST_ASKERS = 4, EACH = 50, ALL = ASKERS + HOST_ASKERS * EACH };

static hsa_queue_t *queue;
static hsa_signal_t doorbell;
static hsa_signal_value_t *doorbell_value;

/* Serves `ALL` packets in order. */
static void *serve(void *served) {
    hsa_agent_dispatch_packet_t *ring = queue->base_address;
    for (uint64_t next = 0; next < ALL; next++) {
        hsa_signal_value_t seen = poll_at_least(doorbell_value, (hsa_signal_value_t)next);
        EXPECT(seen >= (hsa_signal_value_t)next, "no packet %lu", (unsigned long)next);
        hsa_agent_dispatch_packet_t *packet = &ring[next & (queue->size - 1)];
        // Doorbells may overtake each other.
        while ((__atomic_load_n(&packet->header, __ATOMIC_ACQUIRE) & 0xff) != HSA_PACKET_TYPE_AGENT_DISPATCH)
            ;
        EXPECT(packet->type == 7, "service %u", packet->type);
        *(uint64_t *)packet->return_address = packet->arg[0] * 1000 + packet->arg[1];
        __atomic_add_fetch((uint32_t *)served, 1, __ATOMIC_RELAXED);
        __atomic_store_n(&packet->header, HSA_PACKET_TYPE_INVALID, __ATOMIC_RELEASE);
        if (packet->completion_signal.handle)
            hsa_signal_subtract_screlease(packet->completion_signal, 1);
        hsa_queue_store_read_index_screlease(queue, next + 1);
    }
    return NULL;
}

static void *ask_from_host(void *which) {
    uint64_t self = (uint64_t)(uintptr_t)which;
    for (uint64_t i = 0; i < EACH; i++) {
        uint64_t answer = 0;
        hsa_signal_t done = signal_of(1);
        hsa_agent_dispatch_packet_t packet = {
            .type = 7, .return_address = &answer, .arg = {self, i, 0, 0}, .completion_signal = done};
        uint64_t index = hsa_queue_add_write_index_relaxed(queue, 1);
        hsa_agent_dispatch_packet_t *slot = (hsa_agent_dispatch_packet_t *)queue->base_address + (index & (queue->size - 1));
        memcpy((char *)slot + 4, (char *)&packet + 4, 60);
        __atomic_store_n((uint32_t *)slot, header(HSA_PACKET_TYPE_AGENT_DISPATCH, false) | 7u << 16, __ATOMIC_RELEASE);
        hsa_signal_value_t old = hsa_signal_load_relaxed(doorbell);
        // The largest index stays.
        while (old < (hsa_signal_value_t)index) {
            hsa_signal_value_t found = hsa_signal_cas_screlease(doorbell, old, (hsa_signal_value_t)index);
            if (found == old)
                break;
            old = found;
        }
        await(done);
        EXPECT(answer == self * 1000 + i, "thread %lu, question %lu: %lu", (unsigned long)self, (unsigned long)i,
               (unsigned long)answer);
    }
    return NULL;
}

int main(int argc, char **argv) {
    EXPECT(argc > 1, "usage: %s KERNELS.co", argv[0]);
    start();
    module_t module = load(argv[1]);
    hsa_region_t region = {0};
    doorbell = polled_signal(-1, &doorbell_value);
    // The region that the packets are in: the host's fine-grained one, which region and pool handles share in ROCr.
    region.handle = fine.handle;
    CHECK(hsa_soft_queue_create(region, 256, HSA_QUEUE_TYPE_MULTI, HSA_QUEUE_FEATURE_AGENT_DISPATCH, doorbell, &queue));
    EXPECT(queue->size == 256 && queue->features == HSA_QUEUE_FEATURE_AGENT_DISPATCH, "queue of %u", queue->size);
    EXPECT(queue->doorbell_signal.handle == doorbell.handle, "another doorbell");

    // What a kernel needs: the queue structure, its write index and the doorbell's value, all addresses of the host.
    uint64_t *write_index = allocate(fine, 8), *answers = allocate(fine, ASKERS * 8);
    hsa_queue_t *description = allocate(fine, sizeof *description);
    *description = *queue;

    uint32_t served = 0;
    pthread_t server, askers[HOST_ASKERS];
    EXPECT(pthread_create(&server, NULL, serve, &served) == 0, "no thread");
    struct {
        hsa_queue_t *queue;
        uint64_t *write_index, *answers;
        hsa_signal_value_t *doorbell;
    } *arguments = allocate(kernargs, sizeof *arguments);
    *arguments = (typeof(*arguments)){description, write_index, answers, doorbell_value};
    // A queue's own write index is not at an address that its users know: kernels first, with theirs.
    hsa_queue_t *compute = queue_of(64);
    run(compute, kernel_of(module, "ask"), arguments, ASKERS * 64, 64);
    for (int i = 0; i < SECONDS * 1000 && __atomic_load_n(&served, __ATOMIC_ACQUIRE) < ASKERS; i++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    EXPECT(served == ASKERS, "%u of the kernel's questions", served);
    for (uint64_t i = 0; i < ASKERS; i++)
        EXPECT(answers[i] == i * 1002, "workgroup %lu: %lu", (unsigned long)i, (unsigned long)answers[i]);
    hsa_queue_store_write_index_screlease(queue, ASKERS);

    for (uintptr_t i = 0; i < HOST_ASKERS; i++)
        EXPECT(pthread_create(&askers[i], NULL, ask_from_host, (void *)i) == 0, "no thread");
    for (int i = 0; i < HOST_ASKERS; i++)
        pthread_join(askers[i], NULL);
    pthread_join(server, NULL);
    EXPECT(served == ALL, "%u served", served);
    EXPECT(hsa_queue_load_read_index_scacquire(queue) == ALL, "the read index");
    CHECK(hsa_queue_destroy(queue));
    CHECK(hsa_queue_destroy(compute));
    CHECK(hsa_signal_destroy(doorbell));
    release(write_index);
    release(answers);
    release(description);
    release(arguments);
    unload(module);
    return finish();
}
