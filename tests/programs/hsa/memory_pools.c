/* Memory: what the pools say of themselves, allocation up to a pool's limit, access by agents, locked host memory, what a
 * pointer belongs to, the older region calls. */
#include "common.h"

static hsa_status_t count_pool(hsa_amd_memory_pool_t pool, void *data) {
    size_t size, granule, alignment;
    bool allocates;
    hsa_amd_segment_t segment;
    CHECK(hsa_amd_memory_pool_get_info(pool, HSA_AMD_MEMORY_POOL_INFO_SEGMENT, &segment));
    CHECK(hsa_amd_memory_pool_get_info(pool, HSA_AMD_MEMORY_POOL_INFO_SIZE, &size));
    CHECK(hsa_amd_memory_pool_get_info(pool, HSA_AMD_MEMORY_POOL_INFO_RUNTIME_ALLOC_ALLOWED, &allocates));
    EXPECT(size > 0, "an empty pool");
    if (allocates) {
        CHECK(hsa_amd_memory_pool_get_info(pool, HSA_AMD_MEMORY_POOL_INFO_RUNTIME_ALLOC_GRANULE, &granule));
        CHECK(hsa_amd_memory_pool_get_info(pool, HSA_AMD_MEMORY_POOL_INFO_RUNTIME_ALLOC_ALIGNMENT, &alignment));
        EXPECT(granule >= 4096 && alignment >= 4096, "granule %zu, alignment %zu", granule, alignment);
    } else {
        EXPECT(segment == HSA_AMD_SEGMENT_GROUP, "segment %d cannot be allocated", segment);
        EXPECT(size == 65536, "%zu bytes of LDS", size);
    }
    ++*(unsigned *)data;
    return HSA_STATUS_SUCCESS;
}

static hsa_amd_pointer_info_t info_of(void *pointer) {
    hsa_amd_pointer_info_t info = {.size = sizeof info};
    CHECK(hsa_amd_pointer_info(pointer, &info, NULL, NULL, NULL));
    return info;
}

static void pointers(void) {
    // Large enough not to be a piece of a block that the runtime keeps.
    char *device = allocate(vram, 32 << 20), *host = allocate(fine, 5000), *plain = malloc(70000), *locked;
    hsa_amd_pointer_info_t info = info_of(device + 1234);
    EXPECT(info.type == HSA_EXT_POINTER_TYPE_HSA && info.agentBaseAddress == device && info.hostBaseAddress == device,
           "device memory: type %d, base %p", info.type, info.agentBaseAddress);
    EXPECT(info.agentOwner.handle == gpu.handle && info.sizeInBytes >= 32 << 20, "%zu bytes", info.sizeInBytes);
    info = info_of(host);
    EXPECT(info.type == HSA_EXT_POINTER_TYPE_HSA && info.agentOwner.handle == cpu.handle, "host memory: type %d", info.type);
    EXPECT(info_of(plain).type == HSA_EXT_POINTER_TYPE_UNKNOWN, "memory of malloc");
    CHECK(hsa_amd_memory_lock(plain, 70000, &gpu, 1, (void **)&locked));
    info = info_of(plain);
    EXPECT(info.type == HSA_EXT_POINTER_TYPE_LOCKED && info.hostBaseAddress == plain && info.agentBaseAddress == locked,
           "locked memory: type %d", info.type);
    // Through the agent's address.
    CHECK(hsa_amd_memory_fill(locked + (-(uintptr_t)locked & 3), 0x41414141, 10));
    EXPECT(memchr(plain, 'A', 70000) && plain[20] == 'A', "filled elsewhere");
    CHECK(hsa_amd_memory_unlock(plain));
    EXPECT(info_of(plain).type == HSA_EXT_POINTER_TYPE_UNKNOWN, "unlocked memory");
    release(device);
    release(host);
    free(plain);
    EXPECT(info_of(device).type == HSA_EXT_POINTER_TYPE_UNKNOWN, "freed memory");
}

static void limits(void) {
    void *memory = NULL;
    size_t size;
    CHECK(hsa_amd_memory_pool_get_info(vram, HSA_AMD_MEMORY_POOL_INFO_SIZE, &size));
    REFUSED(hsa_amd_memory_pool_allocate(vram, size + 4096, 0, &memory), HSA_STATUS_ERROR_INVALID_ALLOCATION);
    REFUSED(hsa_amd_memory_pool_allocate(vram, 0, 0, &memory), HSA_STATUS_ERROR_INVALID_ARGUMENT);
    REFUSED(hsa_amd_memory_pool_allocate(vram, 4096, 0, NULL), HSA_STATUS_ERROR_INVALID_ARGUMENT);
    // All of it in quarters: the fourth does not fit beside what the runtime uses itself. Freed, it is there again.
    for (int round = 0; round < 2; round++) {
        void *quarters[4];
        for (int i = 0; i < 3; i++)
            CHECK(hsa_amd_memory_pool_allocate(vram, size / 4, 0, &quarters[i]));
        REFUSED(hsa_amd_memory_pool_allocate(vram, size / 4, 0, &quarters[3]), HSA_STATUS_ERROR_OUT_OF_RESOURCES);
        for (int i = 0; i < 3; i++)
            release(quarters[i]);
    }
}

/* The host reaches device memory once it is allowed to; a kernel reaches the host's. */
static void access(module_t module) {
    enum { N = 1000 };
    hsa_queue_t *queue = queue_of(64);
    hsa_amd_memory_pool_access_t access;
    CHECK(hsa_amd_agent_memory_pool_get_info(cpu, vram, HSA_AMD_AGENT_MEMORY_POOL_INFO_ACCESS, &access));
    EXPECT(access == HSA_AMD_MEMORY_POOL_ACCESS_DISALLOWED_BY_DEFAULT, "the host's access to device memory: %d", access);
    CHECK(hsa_amd_agent_memory_pool_get_info(gpu, fine, HSA_AMD_AGENT_MEMORY_POOL_INFO_ACCESS, &access));
    EXPECT(access == HSA_AMD_MEMORY_POOL_ACCESS_DISALLOWED_BY_DEFAULT, "the device's access to host memory: %d", access);
    struct {
        uint32_t *a, *b, *out;
        uint32_t n;
    } *arguments = allocate(kernargs, sizeof *arguments);
    *arguments = (typeof(*arguments)){allocate(vram, N * 4), allocate(fine, N * 4), allocate(vram, N * 4), N};
    for (uint32_t i = 0; i < N; i++) {
        arguments->a[i] = i;
        arguments->b[i] = 7 * i;
    }
    run(queue, kernel_of(module, "add"), arguments, N, 128);
    for (uint32_t i = 0; i < N; i++)
        EXPECT(arguments->out[i] == 8 * i, "element %u", i);
    release(arguments->a);
    release(arguments->b);
    release(arguments->out);
    release(arguments);
    CHECK(hsa_queue_destroy(queue));
}

static hsa_region_t a_region;

static hsa_status_t find_region(hsa_region_t region, void *unused) {
    (void)unused;
    hsa_region_segment_t segment;
    bool allocates;
    CHECK(hsa_region_get_info(region, HSA_REGION_INFO_SEGMENT, &segment));
    CHECK(hsa_region_get_info(region, HSA_REGION_INFO_RUNTIME_ALLOC_ALLOWED, &allocates));
    if (segment == HSA_REGION_SEGMENT_GLOBAL && allocates)
        a_region = region;
    return HSA_STATUS_SUCCESS;
}

static void regions(void) {
    char *memory, *plain = malloc(1 << 20);
    CHECK(hsa_agent_iterate_regions(gpu, find_region, NULL));
    EXPECT(a_region.handle, "no region");
    CHECK(hsa_memory_allocate(a_region, 1 << 20, (void **)&memory));
    memset(plain, 5, 1 << 20);
    CHECK(hsa_memory_register(plain, 1 << 20));
    CHECK(hsa_memory_assign_agent(memory, gpu, HSA_ACCESS_PERMISSION_RW));
    CHECK(hsa_memory_copy(memory, plain, 1 << 20));
    memset(plain, 0, 1 << 20);
    CHECK(hsa_memory_copy(plain, memory, 1 << 20));
    CHECK(hsa_memory_deregister(plain, 1 << 20));
    for (int i = 0; i < 1 << 20; i += 4095)
        EXPECT(plain[i] == 5, "byte %d is %d", i, plain[i]);
    CHECK(hsa_memory_free(memory));
    free(plain);
}

int main(int argc, char **argv) {
    EXPECT(argc > 1, "usage: %s KERNELS.co", argv[0]);
    start();
    module_t module = load(argv[1]);
    unsigned pools = 0;
    CHECK(hsa_amd_agent_iterate_memory_pools(gpu, count_pool, &pools));
    // Device memory and LDS; newer runtimes show device memory as fine-grained, too.
    EXPECT(pools >= 2, "the GPU has %u pools", pools);
    pools = 0;
    CHECK(hsa_amd_agent_iterate_memory_pools(cpu, count_pool, &pools));
    EXPECT(pools >= 2, "the host has %u pools", pools);
    pointers();
    limits();
    access(module);
    regions();
    unload(module);
    return finish();
}
