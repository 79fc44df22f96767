/* What needs more than this kernel interface offers is refused with a status, and nothing else suffers: memory and signals
 * of other processes, graphics buffers, shared virtual memory, queues that run cooperatively. */
#include "common.h"

int main(int argc, char **argv) {
    EXPECT(argc > 1, "usage: %s KERNELS.co", argv[0]);
    start();
    module_t module = load(argv[1]);
    void *memory = allocate(vram, 4 << 20);
    hsa_amd_ipc_memory_t handle = {{0}};
    hsa_status_t status;
    // Upstream's amdkfd has no such ioctl; AMD's own driver does. Runtimes of 7 (1.15) share a dma-buf instead, and assert that
    // the driver exports it.
    if (extension_version() < 15) {
        status = hsa_amd_ipc_memory_create(memory, 4 << 20, &handle);
        EXPECT(status != HSA_STATUS_SUCCESS, "memory was shared");
    }
    void *mapped = NULL;
    // An ordinary signal cannot be shared.
    hsa_signal_t signal = signal_of(1);
    hsa_amd_ipc_signal_t signal_handle;
    REFUSED(hsa_amd_ipc_signal_create(signal, &signal_handle), HSA_STATUS_ERROR_INVALID_ARGUMENT);
    CHECK(hsa_signal_destroy(signal));
    size_t size;
    status = hsa_amd_interop_map_buffer(1, &gpu, 0, 0, &size, &mapped, NULL, NULL);
    EXPECT(status != HSA_STATUS_SUCCESS, "standard input was mapped as a graphics buffer");
    bool supported = true;
    CHECK(hsa_system_get_info((hsa_system_info_t)HSA_AMD_SYSTEM_INFO_SVM_SUPPORTED, &supported));
    EXPECT(!supported, "shared virtual memory");
    hsa_queue_t *queue;
    status = hsa_queue_create(gpu, 64, HSA_QUEUE_TYPE_COOPERATIVE, NULL, NULL, 0, 0, &queue);
    EXPECT(status != HSA_STATUS_SUCCESS, "a cooperative queue");

    // The device is none the worse.
    queue = queue_of(64);
    uint32_t **arguments = allocate(kernargs, 16);
    *arguments = allocate(fine, 4);
    *(uint32_t *)(arguments + 1) = 4;
    run(queue, kernel_of(module, "step"), arguments, 64, 64);
    EXPECT(**arguments == 4, "%u", **arguments);
    release(*arguments);
    release(arguments);
    release(memory);
    CHECK(hsa_queue_destroy(queue));
    unload(module);
    return finish();
}
