/* What a queue reports to its callback, once, and to nobody else: bad packets, an illegal instruction, a trap. Other queues
 * go on; a queue that failed can be destroyed. */
#include "common.h"
#include <unistd.h>

typedef struct {
    hsa_status_t status;
    hsa_queue_t *queue;
    unsigned calls;
} report_t;

static void report(hsa_status_t status, hsa_queue_t *queue, void *data) {
    report_t *to = data;
    to->status = status;
    to->queue = queue;
    __atomic_add_fetch(&to->calls, 1, __ATOMIC_RELEASE);
}

static hsa_queue_t *healthy;
static kernel_t step;

static void still_works(void) {
    uint32_t *x = allocate(fine, 4);
    struct {
        uint32_t *x, by;
    } *arguments = allocate(kernargs, sizeof *arguments);
    *arguments = (typeof(*arguments)){x, 11};
    run(healthy, step, arguments, 64, 64);
    EXPECT(*x == 11, "the other queue gave %u", *x);
    release(x);
    release(arguments);
}

/* Puts one packet into a new queue, which must report `expected`. */
static void fails(const char *what, const void *packet, unsigned type, hsa_status_t expected) {
    report_t got = {0};
    hsa_queue_t *queue = queue_with(64, report, &got);
    enqueue(queue, packet, header(type, false));
    for (int i = 0; i < SECONDS * 1000 && !__atomic_load_n(&got.calls, __ATOMIC_ACQUIRE); i++)
        usleep(1000);
    EXPECT(got.calls == 1, "%s: %u calls", what, got.calls);
    EXPECT(got.status == expected, "%s: reported %#x %s", what, got.status, status_text(got.status));
    EXPECT(got.queue == queue, "%s: reported for another queue", what);
    still_works();
    CHECK(hsa_queue_destroy(queue));
    EXPECT(got.calls == 1, "%s: reported again", what);
}

int main(int argc, char **argv) {
    EXPECT(argc > 1, "usage: %s KERNELS.co", argv[0]);
    start();
    module_t module = load(argv[1]);
    healthy = queue_of(64);
    step = kernel_of(module, "step");
    struct {
        uint32_t *x, by;
    } *arguments = allocate(kernargs, sizeof *arguments);
    *arguments = (typeof(*arguments)){allocate(fine, 4), 1};
    hsa_signal_t none = {0};
    hsa_kernel_dispatch_packet_t good = dispatch_packet(step, arguments, 64, 64, none), packet;

    fails("trap", (packet = dispatch_packet(kernel_of(module, "trap"), NULL, 64, 64, none), &packet),
          HSA_PACKET_TYPE_KERNEL_DISPATCH, HSA_STATUS_ERROR_EXCEPTION);
    fails("illegal instruction", (packet = dispatch_packet(kernel_of(module, "illegal"), NULL, 64, 64, none), &packet),
          HSA_PACKET_TYPE_KERNEL_DISPATCH, HSA_STATUS_ERROR_ILLEGAL_INSTRUCTION);
    packet = good;
    packet.workgroup_size_x = 2048;
    fails("workgroup of 2048", &packet, HSA_PACKET_TYPE_KERNEL_DISPATCH, HSA_STATUS_ERROR_INVALID_ARGUMENT);
    packet = good;
    packet.group_segment_size = 65537;
    fails("too much LDS", &packet, HSA_PACKET_TYPE_KERNEL_DISPATCH, HSA_STATUS_ERROR_INVALID_ALLOCATION);
    packet = good;
    packet.setup = 0;
    fails("no dimensions", &packet, HSA_PACKET_TYPE_KERNEL_DISPATCH, HSA_STATUS_ERROR_INCOMPATIBLE_ARGUMENTS);
    packet = good;
    fails("unknown packet type", &packet, 200, HSA_STATUS_ERROR_INVALID_PACKET_FORMAT);

    // Inactivated by the program: no report, and its packets stay where they are.
    report_t got = {0};
    hsa_queue_t *queue = queue_with(64, report, &got);
    run(queue, step, arguments, 64, 64);
    CHECK(hsa_queue_inactivate(queue));
    hsa_signal_t done = signal_of(1);
    packet = dispatch_packet(step, arguments, 64, 64, done);
    enqueue(queue, &packet, header(HSA_PACKET_TYPE_KERNEL_DISPATCH, false));
    usleep(20000);
    EXPECT(hsa_signal_load_scacquire(done) == 1, "an inactive queue worked");
    CHECK(hsa_queue_destroy(queue));
    EXPECT(got.calls == 0, "an inactivated queue reported %#x", got.status);
    CHECK(hsa_signal_destroy(done));
    still_works();

    // Refused before there is a queue.
    REFUSED(hsa_queue_create(gpu, 100, HSA_QUEUE_TYPE_MULTI, NULL, NULL, 0, 0, &queue), HSA_STATUS_ERROR_INVALID_ARGUMENT);
    REFUSED(hsa_queue_create(gpu, 0, HSA_QUEUE_TYPE_MULTI, NULL, NULL, 0, 0, &queue), HSA_STATUS_ERROR_INVALID_ARGUMENT);
    CHECK(hsa_queue_destroy(healthy));
    release(arguments->x);
    release(arguments);
    unload(module);
    return finish();
}
