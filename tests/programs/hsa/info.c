/* What the runtime says of system, agents and instruction sets: every attribute answers, and those that are the MI50's have
 * its values. */
#include "common.h"

#define SYSTEM(type, what)                                                                                             \
    ({                                                                                                                 \
        type value_ = 0;                                                                                               \
        CHECK(hsa_system_get_info(what, &value_));                                                                     \
        value_;                                                                                                        \
    })
#define AGENT(type, what)                                                                                              \
    ({                                                                                                                 \
        type value_ = 0;                                                                                               \
        CHECK(hsa_agent_get_info(gpu, (hsa_agent_info_t)(what), &value_));                                             \
        value_;                                                                                                        \
    })

static unsigned isas, specific, caches;

static hsa_status_t isa(hsa_isa_t isa, void *data) {
    (void)data;
    char name[64] = {0};
    uint32_t length, size;
    CHECK(hsa_isa_get_info_alt(isa, HSA_ISA_INFO_NAME_LENGTH, &length));
    EXPECT(length < sizeof name, "%u", length);
    CHECK(hsa_isa_get_info_alt(isa, HSA_ISA_INFO_NAME, name));
    // Newer runtimes name a generic one, too.
    specific += strcmp(name, "amdgcn-amd-amdhsa--gfx906:sramecc+:xnack-") == 0;
    CHECK(hsa_isa_get_info_alt(isa, HSA_ISA_INFO_WORKGROUP_MAX_SIZE, &size));
    EXPECT(size == 1024, "workgroups of %u", size);
    isas++;
    return HSA_STATUS_SUCCESS;
}

static hsa_status_t cache(hsa_cache_t cache, void *data) {
    uint8_t level;
    uint32_t size;
    CHECK(hsa_cache_get_info(cache, HSA_CACHE_INFO_LEVEL, &level));
    CHECK(hsa_cache_get_info(cache, HSA_CACHE_INFO_SIZE, &size));
    EXPECT(level >= 1 && level <= 3 && size > 0, "level %u, %u bytes", level, size);
    // The header says bytes; ROCr 5.2 gives KiB.
    uint32_t kib = level == 1 ? 16 : 4096;
    if (data)
        EXPECT(size == kib || size == kib * 1024, "level %u of the GPU: %u", level, size);
    caches++;
    return HSA_STATUS_SUCCESS;
}

int main(void) {
    start();
    EXPECT(SYSTEM(uint16_t, HSA_SYSTEM_INFO_VERSION_MAJOR) == 1, "HSA version");
    EXPECT(SYSTEM(hsa_endianness_t, HSA_SYSTEM_INFO_ENDIANNESS) == HSA_ENDIANNESS_LITTLE, "endianness");
    EXPECT(SYSTEM(hsa_machine_model_t, HSA_SYSTEM_INFO_MACHINE_MODEL) == HSA_MACHINE_MODEL_LARGE, "machine model");
    uint64_t first = SYSTEM(uint64_t, HSA_SYSTEM_INFO_TIMESTAMP);
    for (int i = 0; i < 1000; i++) {
        uint64_t next = SYSTEM(uint64_t, HSA_SYSTEM_INFO_TIMESTAMP);
        EXPECT(next >= first, "the clock went back by %lu", (unsigned long)(first - next));
        first = next;
    }
    bool supported;
    uint16_t minor;
    CHECK(hsa_system_major_extension_supported(HSA_EXTENSION_AMD_LOADER, 1, &minor, &supported));
    EXPECT(supported, "the loader extension");
    CHECK(hsa_system_extension_supported(HSA_EXTENSION_AMD_PROFILER, 1, 0, &supported));

    char name[64] = {0};
    CHECK(hsa_agent_get_info(gpu, HSA_AGENT_INFO_NAME, name));
    EXPECT(strcmp(name, "gfx906") == 0, "%s", name);
    memset(name, 0, sizeof name);
    CHECK(hsa_agent_get_info(gpu, (hsa_agent_info_t)HSA_AMD_AGENT_INFO_PRODUCT_NAME, name));
    EXPECT(strstr(name, "MI50"), "%s", name);
    CHECK(hsa_agent_get_info(gpu, HSA_AGENT_INFO_VENDOR_NAME, name));
    EXPECT(strcmp(name, "AMD") == 0, "%s", name);
    EXPECT(AGENT(hsa_agent_feature_t, HSA_AGENT_INFO_FEATURE) == HSA_AGENT_FEATURE_KERNEL_DISPATCH, "features");
    EXPECT(AGENT(uint32_t, HSA_AGENT_INFO_WAVEFRONT_SIZE) == 64, "wavefront");
    EXPECT(AGENT(uint32_t, HSA_AGENT_INFO_WORKGROUP_MAX_SIZE) == 1024, "workgroup");
    EXPECT(AGENT(uint32_t, HSA_AGENT_INFO_GRID_MAX_SIZE) == UINT32_MAX, "grid");
    EXPECT(AGENT(uint32_t, HSA_AGENT_INFO_QUEUE_MAX_SIZE) == 131072, "queue size");
    EXPECT(AGENT(uint32_t, HSA_AGENT_INFO_QUEUES_MAX) >= 24, "queues");
    EXPECT(AGENT(uint32_t, HSA_AMD_AGENT_INFO_COMPUTE_UNIT_COUNT) == 60, "compute units");
    EXPECT(AGENT(uint32_t, HSA_AMD_AGENT_INFO_NUM_SHADER_ENGINES) == 4, "shader engines");
    EXPECT(AGENT(uint32_t, HSA_AMD_AGENT_INFO_NUM_SHADER_ARRAYS_PER_SE) == 1, "shader arrays");
    EXPECT(AGENT(uint32_t, HSA_AMD_AGENT_INFO_NUM_SIMDS_PER_CU) == 4, "SIMDs");
    EXPECT(AGENT(uint32_t, HSA_AMD_AGENT_INFO_MAX_WAVES_PER_CU) == 40, "waves");
    EXPECT(AGENT(uint32_t, HSA_AMD_AGENT_INFO_CHIP_ID) == 0x66a1, "chip");
    EXPECT(AGENT(uint32_t, HSA_AMD_AGENT_INFO_BDFID) == 0x300, "PCI location");
    EXPECT(AGENT(uint32_t, HSA_AMD_AGENT_INFO_DRIVER_NODE_ID) == 1, "node");
    EXPECT(AGENT(uint32_t, HSA_AMD_AGENT_INFO_MAX_CLOCK_FREQUENCY) == 1725, "clock");
    EXPECT(AGENT(uint32_t, HSA_AMD_AGENT_INFO_CACHELINE_SIZE) == 64, "cache line");
    EXPECT(AGENT(bool, HSA_AMD_AGENT_INFO_COOPERATIVE_QUEUES) == false, "there is no GWS");
    CHECK(hsa_agent_get_info(gpu, (hsa_agent_info_t)HSA_AMD_AGENT_INFO_UUID, name));
    EXPECT(strncmp(name, "GPU-", 4) == 0 && strlen(name) == 20, "%s", name);
    uint16_t dimensions[3];
    CHECK(hsa_agent_get_info(gpu, HSA_AGENT_INFO_WORKGROUP_MAX_DIM, dimensions));
    EXPECT(dimensions[0] == 1024 && dimensions[2] == 1024, "%u", dimensions[0]);
    CHECK(hsa_agent_iterate_isas(gpu, isa, NULL));
    EXPECT(isas >= 1 && specific == 1, "%u instruction sets, %u of them gfx906's", isas, specific);
    CHECK(hsa_agent_iterate_caches(gpu, cache, name));
    EXPECT(caches >= 1, "%u caches", caches);
    CHECK(hsa_agent_iterate_caches(cpu, cache, NULL));
    REFUSED(hsa_agent_get_info(gpu, (hsa_agent_info_t)0x7777, name), HSA_STATUS_ERROR_INVALID_ARGUMENT);
    REFUSED(hsa_agent_get_info((hsa_agent_t){0}, HSA_AGENT_INFO_NAME, name), HSA_STATUS_ERROR_INVALID_AGENT);
    return finish();
}
