/* CU masks and priorities of queues: what was set is read back, and kernels run on exactly those compute units; masks that
 * cannot be are refused. */
#include "common.h"

enum { GROUPS = 480, CUS = 60 };

static module_t module;

/* The compute units that a kernel of many workgroups sees, as a mask: bit i is unit i / 4 of shader engine i % 4. */
static uint64_t seen(hsa_queue_t *queue) {
    uint32_t **arguments = allocate(kernargs, 8);
    uint64_t mask = 0;
    *arguments = allocate(fine, GROUPS * 4);
    run(queue, kernel_of(module, "where"), arguments, GROUPS * 64, 64);
    for (int i = 0; i < GROUPS; i++) {
        uint32_t id = (*arguments)[i], unit = id >> 8 & 15, engine = id >> 13 & 3;
        mask |= 1ull << (unit * 4 + engine);
    }
    release(*arguments);
    release(arguments);
    return mask;
}

int main(int argc, char **argv) {
    EXPECT(argc > 1, "usage: %s KERNELS.co", argv[0]);
    start();
    module = load(argv[1]);
    hsa_queue_t *queue = queue_of(256);
    const uint64_t all = (1ull << CUS) - 1;
    EXPECT(seen(queue) == all, "without a mask: %#lx", (unsigned long)seen(queue));
    const uint64_t masks[] = {0x1, 0xff, 0x111111111111111, 0xf0f0f0f0f0f0f0f, 0x888888888888888, all, 0x800000000000000, 0x3};
    for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) {
        uint32_t mask[2] = {(uint32_t)masks[i], (uint32_t)(masks[i] >> 32)}, back[2] = {0};
        CHECK(hsa_amd_queue_cu_set_mask(queue, 64, mask));
        CHECK(hsa_amd_queue_cu_get_mask(queue, 64, back));
        // Runtimes of 7 (1.15) set the mask but do not note it.
        EXPECT(extension_version() >= 15 || (back[0] == mask[0] && back[1] == mask[1]), "set %#lx, got %#x%08x", (unsigned long)masks[i], back[1], back[0]);
        uint64_t found = seen(queue);
        EXPECT(found == masks[i], "mask %#lx, ran on %#lx", (unsigned long)masks[i], (unsigned long)found);
    }
    uint32_t mask[2] = {0xff, 0};
    REFUSED(hsa_amd_queue_cu_set_mask(queue, 33, mask), HSA_STATUS_ERROR_INVALID_ARGUMENT);
    REFUSED(hsa_amd_queue_cu_set_mask(queue, 32, NULL), HSA_STATUS_ERROR_INVALID_ARGUMENT);
    // No bits: back to all.
    CHECK(hsa_amd_queue_cu_set_mask(queue, 0, NULL));
    EXPECT(seen(queue) == all, "after the reset: %#lx", (unsigned long)seen(queue));

    hsa_amd_queue_priority_t priorities[] = {HSA_AMD_QUEUE_PRIORITY_LOW, HSA_AMD_QUEUE_PRIORITY_NORMAL, HSA_AMD_QUEUE_PRIORITY_HIGH};
    for (int i = 0; i < 3; i++) {
        CHECK(hsa_amd_queue_set_priority(queue, priorities[i]));
        EXPECT(seen(queue) == all, "at priority %d", i);
    }
    REFUSED(hsa_amd_queue_set_priority(queue, (hsa_amd_queue_priority_t)77), HSA_STATUS_ERROR_INVALID_ARGUMENT);
    CHECK(hsa_queue_destroy(queue));
    unload(module);
    return finish();
}
