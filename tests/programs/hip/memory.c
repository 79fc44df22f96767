/* Memory kinds: mapped and registered host memory, managed memory, what a pointer is, how much there is; kernels and host
 * look at the same bytes. */
#include "common.h"

static hipModule_t module;

static void count(uint32_t *counter, uint32_t by) {
    LAUNCH(kernel_of(module, "count"), 2, 128, 0, NULL, &counter, &by);
    CHECK(hipDeviceSynchronize());
}

static void info(void) {
    size_t free_before, free_now, total;
    CHECK(hipMemGetInfo(&free_before, &total));
    EXPECT(total == (size_t)16 << 30 && free_before <= total, "%zu of %zu bytes free", free_before, total);
    void *memory = device_memory(256 << 20);
    CHECK(hipMemGetInfo(&free_now, &total));
    EXPECT(free_before - free_now >= 256 << 20 && free_before - free_now < 300 << 20, "%zu bytes less", free_before - free_now);
    CHECK(hipFree(memory));
    void *none;
    GIVES(hipMalloc(&none, total + (1 << 30)), hipErrorOutOfMemory);
    hipGetLastError();
    hipPointerAttribute_t what;
    GIVES(hipPointerGetAttributes(&what, &total), hipErrorInvalidValue);
    hipGetLastError();
}

static void mapped(void) {
    uint32_t *host, *device;
    CHECK(hipHostMalloc((void **)&host, 4096, hipHostMallocMapped));
    CHECK(hipHostGetDevicePointer((void **)&device, host, 0));
    hipPointerAttribute_t what;
    CHECK(hipPointerGetAttributes(&what, host));
    EXPECT(what.memoryType == hipMemoryTypeHost && what.devicePointer == device, "type %d", what.memoryType);
    *host = 5;
    count(device, 2);
    EXPECT(*host == 5 + 512, "%u", *host);
    CHECK(hipHostFree(host));
}

static void registered(void) {
    uint32_t *host = malloc(10000), *device;
    memset(host, 0, 10000);
    CHECK(hipHostRegister(host, 10000, hipHostRegisterMapped));
    CHECK(hipHostGetDevicePointer((void **)&device, host, 0));
    count(device + 100, 7);
    EXPECT(host[100] == 7 * 256 && host[99] == 0 && host[101] == 0, "%u", host[100]);
    CHECK(hipHostUnregister(host));
    free(host);
}

static void managed(void) {
    uint32_t *shared = NULL;
    CHECK(hipMallocManaged((void **)&shared, 1 << 16, hipMemAttachGlobal));
    shared[3] = 1;
    count(shared + 3, 4);
    EXPECT(shared[3] == 1 + 1024, "%u", shared[3]);
    CHECK(hipFree(shared));
}

static void device(void) {
    uint32_t *memory = device_memory(1 << 20), value = 0;
    hipPointerAttribute_t what;
    CHECK(hipPointerGetAttributes(&what, memory + 50));
    EXPECT(what.memoryType == hipMemoryTypeDevice && what.device == 0, "type %d, device %d", what.memoryType, what.device);
    size_t size;
    hipDeviceptr_t base;
    CHECK(hipMemGetAddressRange(&base, &size, (hipDeviceptr_t)(memory + 50)));
    EXPECT(base == memory && size == 1 << 20, "%zu bytes", size);
    CHECK(hipMemset(memory, 0, 4));
    count(memory, 9);
    CHECK(hipMemcpy(&value, memory, 4, hipMemcpyDeviceToHost));
    EXPECT(value == 9 * 256, "%u", value);
    CHECK(hipFree(memory));
    GIVES(hipFree((void *)0x1234), hipErrorInvalidValue);
    hipGetLastError();
    CHECK(hipFree(NULL));
}

int main(int argc, char **argv) {
    EXPECT(argc > 1, "usage: %s KERNELS.co", argv[0]);
    module = load(argv[1]);
    info();
    mapped();
    registered();
    managed();
    device();
    CHECK(hipModuleUnload(module));
    return finish();
}
