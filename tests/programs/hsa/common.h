/* What every HSA program here needs: checks that name what failed, the two agents and their memory, kernels from a code
 * object, one dispatch.
 *
 * Needs the HSA headers alone. A program exits with 0 if all its checks hold, and with 1 at the first that does not. All
 * state is this file's; only `expect`, `packet` and `ring` may be called from several threads at once. */
#ifndef COMMON_H
#define COMMON_H

#include <hsa/hsa.h>
#include <hsa/hsa_ext_amd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* No wait here is longer: a program that hangs ends with an error instead. */
enum { SECONDS = 20 };

static unsigned checks;

#define EXPECT(condition, ...)                                                                                         \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: not so: %s", __FILE__, __LINE__, #condition);                                      \
            fprintf(stderr, " -- " __VA_ARGS__);                                                                       \
            fprintf(stderr, "\n");                                                                                     \
            exit(1);                                                                                                   \
        }                                                                                                              \
        __atomic_add_fetch(&checks, 1, __ATOMIC_RELAXED);                                                              \
    } while (0)

static inline const char *status_text(hsa_status_t status) {
    const char *text = "unknown status";
    hsa_status_string(status, &text);
    return text;
}

#define CHECK(call)                                                                                                    \
    do {                                                                                                               \
        hsa_status_t status_ = (call);                                                                                 \
        EXPECT(status_ == HSA_STATUS_SUCCESS, "%s: %#x %s", #call, status_, status_text(status_));                     \
    } while (0)

/* A call that must fail in one way. */
#define REFUSED(call, expected)                                                                                        \
    do {                                                                                                               \
        hsa_status_t status_ = (call);                                                                                 \
        EXPECT(status_ == (expected), "%s: %#x %s", #call, status_, status_text(status_));                             \
    } while (0)

static hsa_agent_t cpu, gpu;
/* The host's coarse-grained (if it has one), fine-grained and kernarg memory; the GPU's own. */
static hsa_amd_memory_pool_t fine, kernargs, vram;

/* Minor version of AMD's extension of the interface; 0 for runtimes before 6.1, which do not tell. */
static inline unsigned extension_version(void) {
    uint16_t minor = 0;
    // HSA_AMD_SYSTEM_INFO_EXT_VERSION_MINOR of newer headers.
    return hsa_system_get_info((hsa_system_info_t)0x208, &minor) == HSA_STATUS_SUCCESS ? minor : 0;
}

static inline hsa_status_t find_agent(hsa_agent_t agent, void *unused) {
    (void)unused;
    hsa_device_type_t type;
    CHECK(hsa_agent_get_info(agent, HSA_AGENT_INFO_DEVICE, &type));
    if (type == HSA_DEVICE_TYPE_CPU && !cpu.handle)
        cpu = agent;
    if (type == HSA_DEVICE_TYPE_GPU && !gpu.handle)
        gpu = agent;
    return HSA_STATUS_SUCCESS;
}

static inline hsa_status_t find_pool(hsa_amd_memory_pool_t pool, void *agent) {
    hsa_amd_segment_t segment;
    uint32_t flags;
    bool allocates;
    CHECK(hsa_amd_memory_pool_get_info(pool, HSA_AMD_MEMORY_POOL_INFO_SEGMENT, &segment));
    CHECK(hsa_amd_memory_pool_get_info(pool, HSA_AMD_MEMORY_POOL_INFO_RUNTIME_ALLOC_ALLOWED, &allocates));
    if (segment != HSA_AMD_SEGMENT_GLOBAL || !allocates)
        return HSA_STATUS_SUCCESS;
    CHECK(hsa_amd_memory_pool_get_info(pool, HSA_AMD_MEMORY_POOL_INFO_GLOBAL_FLAGS, &flags));
    if (((hsa_agent_t *)agent)->handle == gpu.handle) {
        if (flags & HSA_AMD_MEMORY_POOL_GLOBAL_FLAG_COARSE_GRAINED)
            vram = pool;
        return HSA_STATUS_SUCCESS;
    }
    if (flags & HSA_AMD_MEMORY_POOL_GLOBAL_FLAG_KERNARG_INIT)
        kernargs = pool;
    else if (flags & HSA_AMD_MEMORY_POOL_GLOBAL_FLAG_FINE_GRAINED)
        fine = pool;
    return HSA_STATUS_SUCCESS;
}

/* Initialises the runtime and finds the agents and pools. */
static inline void start(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    CHECK(hsa_init());
    CHECK(hsa_iterate_agents(find_agent, NULL));
    EXPECT(cpu.handle && gpu.handle, "no CPU or no GPU");
    CHECK(hsa_amd_agent_iterate_memory_pools(cpu, find_pool, &cpu));
    CHECK(hsa_amd_agent_iterate_memory_pools(gpu, find_pool, &gpu));
    EXPECT(fine.handle && kernargs.handle && vram.handle, "a memory pool is missing");
}

/* Shuts the runtime down; the program's last words. */
static inline int finish(void) {
    CHECK(hsa_shut_down());
    printf("all right: %u checks\n", checks);
    return 0;
}

/* Memory of a pool that both agents may use; zeroed if the host can reach it. */
static inline void *allocate(hsa_amd_memory_pool_t pool, size_t bytes) {
    void *memory = NULL;
    hsa_agent_t both[2] = {cpu, gpu};
    CHECK(hsa_amd_memory_pool_allocate(pool, bytes, 0, &memory));
    CHECK(hsa_amd_agents_allow_access(2, both, NULL, memory));
    if (pool.handle != vram.handle)
        memset(memory, 0, bytes);
    return memory;
}

static inline void release(void *memory) { CHECK(hsa_amd_memory_pool_free(memory)); }

static inline hsa_signal_t signal_of(hsa_signal_value_t value) {
    hsa_signal_t signal;
    CHECK(hsa_signal_create(value, 0, NULL, &signal));
    return signal;
}

/* A signal without an event: its waiters poll, so a kernel may store to its value, which is at `*value`. */
static inline hsa_signal_t polled_signal(hsa_signal_value_t first, hsa_signal_value_t **value) {
    hsa_signal_t signal;
    CHECK(hsa_amd_signal_create(first, 0, NULL, HSA_AMD_SIGNAL_AMD_GPU_ONLY, &signal));
    CHECK(hsa_amd_signal_value_pointer(signal, (volatile hsa_signal_value_t **)value));
    return signal;
}

/* Polls a signal's value, because the runtime does not like its waits to be called for such signals. */
static inline hsa_signal_value_t poll_at_least(hsa_signal_value_t *value, hsa_signal_value_t least) {
    hsa_signal_value_t found = 0;
    for (time_t end = time(NULL) + SECONDS; time(NULL) <= end;)
        if ((found = __atomic_load_n(value, __ATOMIC_ACQUIRE)) >= least)
            break;
    return found;
}

/* Ticks of the runtime's clock in so many seconds. */
static inline uint64_t ticks(double seconds) {
    uint64_t frequency;
    CHECK(hsa_system_get_info(HSA_SYSTEM_INFO_TIMESTAMP_FREQUENCY, &frequency));
    return (uint64_t)(seconds * (double)frequency);
}

/* Waits until a signal is less than one; an error value (negative) is the caller's to look at. */
static inline hsa_signal_value_t wait_for(hsa_signal_t signal) {
    hsa_signal_value_t value = hsa_signal_wait_scacquire(signal, HSA_SIGNAL_CONDITION_LT, 1, ticks(SECONDS),
                                                         HSA_WAIT_STATE_BLOCKED);
    EXPECT(value < 1, "waited %d s for a signal that is %ld", SECONDS, (long)value);
    return value;
}

/* Sets a signal, waits for what decrements it, and destroys it. */
static inline void await(hsa_signal_t signal) {
    hsa_signal_value_t value = wait_for(signal);
    EXPECT(value == 0, "the signal is %ld", (long)value);
    CHECK(hsa_signal_destroy(signal));
}

static inline hsa_queue_t *queue_with(uint32_t packets, void (*failed)(hsa_status_t, hsa_queue_t *, void *), void *data) {
    hsa_queue_t *queue;
    CHECK(hsa_queue_create(gpu, packets, HSA_QUEUE_TYPE_MULTI, failed, data, UINT32_MAX, UINT32_MAX, &queue));
    return queue;
}

static inline void unexpected_error(hsa_status_t status, hsa_queue_t *queue, void *data) {
    (void)data;
    fprintf(stderr, "queue %lu: %#x %s\n", (unsigned long)queue->id, status, status_text(status));
    exit(1);
}

static inline hsa_queue_t *queue_of(uint32_t packets) { return queue_with(packets, unexpected_error, NULL); }

/* A loaded code object. */
typedef struct {
    void *bytes;
    hsa_code_object_reader_t reader;
    hsa_executable_t executable;
} module_t;

static inline void *file_bytes(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    EXPECT(file, "cannot open %s", path);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    void *bytes = malloc(*size);
    EXPECT(fread(bytes, 1, *size, file) == *size, "cannot read %s", path);
    fclose(file);
    return bytes;
}

static inline module_t load(const char *path) {
    module_t module;
    size_t size;
    module.bytes = file_bytes(path, &size);
    CHECK(hsa_code_object_reader_create_from_memory(module.bytes, size, &module.reader));
    CHECK(hsa_executable_create_alt(HSA_PROFILE_FULL, HSA_DEFAULT_FLOAT_ROUNDING_MODE_DEFAULT, NULL, &module.executable));
    CHECK(hsa_executable_load_agent_code_object(module.executable, gpu, module.reader, NULL, NULL));
    CHECK(hsa_executable_freeze(module.executable, NULL));
    return module;
}

static inline void unload(module_t module) {
    CHECK(hsa_executable_destroy(module.executable));
    CHECK(hsa_code_object_reader_destroy(module.reader));
    free(module.bytes);
}

typedef struct {
    uint64_t object;
    uint32_t arguments, lds, scratch;
} kernel_t;

static inline kernel_t kernel_of(module_t module, const char *name) {
    char symbol_name[128];
    hsa_executable_symbol_t symbol;
    kernel_t kernel;
    snprintf(symbol_name, sizeof symbol_name, "%s.kd", name);
    CHECK(hsa_executable_get_symbol_by_name(module.executable, symbol_name, &gpu, &symbol));
    CHECK(hsa_executable_symbol_get_info(symbol, HSA_EXECUTABLE_SYMBOL_INFO_KERNEL_OBJECT, &kernel.object));
    CHECK(hsa_executable_symbol_get_info(symbol, HSA_EXECUTABLE_SYMBOL_INFO_KERNEL_KERNARG_SEGMENT_SIZE, &kernel.arguments));
    CHECK(hsa_executable_symbol_get_info(symbol, HSA_EXECUTABLE_SYMBOL_INFO_KERNEL_GROUP_SEGMENT_SIZE, &kernel.lds));
    CHECK(hsa_executable_symbol_get_info(symbol, HSA_EXECUTABLE_SYMBOL_INFO_KERNEL_PRIVATE_SEGMENT_SIZE, &kernel.scratch));
    EXPECT(kernel.object != 0, "%s has no kernel object", name);
    return kernel;
}

/* Type, barrier bit and both fences at system scope. */
static inline uint16_t header(unsigned type, bool barrier) {
    return (uint16_t)(type << HSA_PACKET_HEADER_TYPE | (unsigned)barrier << HSA_PACKET_HEADER_BARRIER |
                      HSA_FENCE_SCOPE_SYSTEM << HSA_PACKET_HEADER_SCACQUIRE_FENCE_SCOPE |
                      HSA_FENCE_SCOPE_SYSTEM << HSA_PACKET_HEADER_SCRELEASE_FENCE_SCOPE);
}

/* A kernel's packet, without its header. */
static inline hsa_kernel_dispatch_packet_t dispatch_packet(kernel_t kernel, void *arguments, uint32_t grid,
                                                           uint16_t workgroup, hsa_signal_t done) {
    return (hsa_kernel_dispatch_packet_t){
        .setup = 1 << HSA_KERNEL_DISPATCH_PACKET_SETUP_DIMENSIONS,
        .workgroup_size_x = workgroup,
        .workgroup_size_y = 1,
        .workgroup_size_z = 1,
        .grid_size_x = grid,
        .grid_size_y = 1,
        .grid_size_z = 1,
        .private_segment_size = kernel.scratch,
        .group_segment_size = kernel.lds,
        .kernel_object = kernel.object,
        .kernarg_address = arguments,
        .completion_signal = done,
    };
}

/* Writes a packet of 64 bytes into the queue, header last, and rings the doorbell. Waits while the queue is full. */
static inline uint64_t enqueue(hsa_queue_t *queue, const void *packet, uint16_t head) {
    uint64_t index = hsa_queue_add_write_index_relaxed(queue, 1);
    while (index - hsa_queue_load_read_index_scacquire(queue) >= queue->size)
        ;
    char *slot = (char *)queue->base_address + 64 * (index & (queue->size - 1));
    memcpy(slot + 4, (const char *)packet + 4, 60);
    uint32_t first;
    memcpy(&first, packet, 4);
    __atomic_store_n((uint32_t *)slot, (first & 0xffff0000u) | head, __ATOMIC_RELEASE);
    hsa_signal_store_screlease(queue->doorbell_signal, (hsa_signal_value_t)index);
    return index;
}

/* One dispatch in one dimension, complete when this returns. */
static inline void run(hsa_queue_t *queue, kernel_t kernel, void *arguments, uint32_t grid, uint16_t workgroup) {
    hsa_signal_t done = signal_of(1);
    hsa_kernel_dispatch_packet_t packet = dispatch_packet(kernel, arguments, grid, workgroup, done);
    enqueue(queue, &packet, header(HSA_PACKET_TYPE_KERNEL_DISPATCH, false));
    await(done);
}

/* A copy between any two places, complete when this returns. */
static inline void copy(void *to, hsa_agent_t to_agent, const void *from, hsa_agent_t from_agent, size_t bytes) {
    hsa_signal_t done = signal_of(1);
    CHECK(hsa_amd_memory_async_copy(to, to_agent, from, from_agent, bytes, 0, NULL, done));
    await(done);
}

#endif
