/* A kernel that writes where nothing is: the system event handler is told the address, and the program, which may do as it
 * likes then, ends without hanging. */
#include "common.h"
#include <unistd.h>

static const uint64_t BAD = 0x123456789000;
static uint64_t address;
static unsigned calls;

static hsa_status_t event(const hsa_amd_event_t *event, void *data) {
    EXPECT(data == &address, "the handler's data is %p", data);
    // Runtimes from 7 on tell of their shutting down, too.
    if ((int)event->event_type == 3)
        return HSA_STATUS_SUCCESS;
    EXPECT(event->event_type == HSA_AMD_GPU_MEMORY_FAULT_EVENT, "event %d", event->event_type);
    EXPECT(event->memory_fault.agent.handle == gpu.handle, "another agent");
    address = event->memory_fault.virtual_address;
    __atomic_add_fetch(&calls, 1, __ATOMIC_RELEASE);
    return HSA_STATUS_SUCCESS;
}

static void ignore(hsa_status_t status, hsa_queue_t *queue, void *data) {
    (void)status, (void)queue, (void)data;
}

int main(int argc, char **argv) {
    EXPECT(argc > 1, "usage: %s KERNELS.co", argv[0]);
    start();
    CHECK(hsa_amd_register_system_event_handler(event, &address));
    module_t module = load(argv[1]);
    hsa_queue_t *queue = queue_with(64, ignore, NULL);
    struct {
        uint64_t address;
        uint32_t value;
    } *arguments = allocate(kernargs, sizeof *arguments);
    *arguments = (typeof(*arguments)){BAD + 0x10, 1};
    hsa_signal_t done = signal_of(1);
    hsa_kernel_dispatch_packet_t packet = dispatch_packet(kernel_of(module, "store_to"), arguments, 64, 64, done);
    enqueue(queue, &packet, header(HSA_PACKET_TYPE_KERNEL_DISPATCH, false));
    for (int i = 0; i < SECONDS * 1000 && !__atomic_load_n(&calls, __ATOMIC_ACQUIRE); i++)
        usleep(1000);
    EXPECT(calls == 1, "%u calls", calls);
    EXPECT(address == BAD, "the fault is at %#lx", (unsigned long)address);
    EXPECT(hsa_signal_load_scacquire(done) == 1, "the kernel completed");
    // ROCr 6.4 (1.7), where the driver reports exceptions (KFD 1.13), waits for ever when such a queue is destroyed.
    const unsigned version = extension_version();
    if (version < 7 || version >= 15)
        CHECK(hsa_queue_destroy(queue));
    CHECK(hsa_signal_destroy(done));
    unload(module);
    return finish();
}
