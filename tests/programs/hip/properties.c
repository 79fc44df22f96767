/* What HIP says of the device: the MI50's properties, through the structure and through single attributes. */
#include "common.h"

static int attribute(hipDeviceAttribute_t which) {
    int value = -1;
    CHECK(hipDeviceGetAttribute(&value, which, 0));
    return value;
}

int main(int argc, char **argv) {
    EXPECT(argc > 1, "usage: %s KERNELS.co", argv[0]);
    int count, version;
    CHECK(hipInit(0));
    CHECK(hipGetDeviceCount(&count));
    EXPECT(count == 1, "%d devices", count);
    CHECK(hipRuntimeGetVersion(&version));
    EXPECT(version >= 50000000, "HIP %d", version);
    hipDeviceProp_t p;
    CHECK(hipGetDeviceProperties(&p, 0));
    EXPECT(strstr(p.name, "MI50"), "%s", p.name);
    EXPECT(strncmp(p.gcnArchName, "gfx906", 6) == 0, "%s", p.gcnArchName);
    EXPECT(p.totalGlobalMem == (size_t)16 << 30, "%zu bytes", p.totalGlobalMem);
    EXPECT(p.sharedMemPerBlock == 65536, "%zu bytes of LDS", p.sharedMemPerBlock);
    EXPECT(p.warpSize == 64 && p.maxThreadsPerBlock == 1024, "wave %d, block %d", p.warpSize, p.maxThreadsPerBlock);
    EXPECT(p.multiProcessorCount == 60, "%d compute units", p.multiProcessorCount);
    EXPECT(p.clockRate == 1725000, "%d kHz", p.clockRate);
    EXPECT(p.memoryBusWidth == 4096 && p.memoryClockRate == 1000000, "bus %d, %d kHz", p.memoryBusWidth, p.memoryClockRate);
    EXPECT(p.pciBusID == 3 && p.pciDeviceID == 0, "PCI %d:%d", p.pciBusID, p.pciDeviceID);
    EXPECT(p.major == 9 && p.minor == 0, "compute capability %d.%d", p.major, p.minor);
    EXPECT(p.l2CacheSize == 4 << 20, "L2 of %d bytes", p.l2CacheSize);
    EXPECT(!p.cooperativeLaunch, "cooperative launches need GWS, which there is not");
    EXPECT(attribute(hipDeviceAttributeMultiprocessorCount) == 60, "compute units");
    EXPECT(attribute(hipDeviceAttributeWarpSize) == 64, "wave");
    EXPECT(attribute(hipDeviceAttributeMaxThreadsPerBlock) == 1024, "block");
    EXPECT(attribute(hipDeviceAttributeMaxThreadsPerMultiProcessor) == 2560, "threads a compute unit");
    char name[128], bus[32];
    hipDevice_t device;
    size_t bytes;
    CHECK(hipDeviceGet(&device, 0));
    CHECK(hipDeviceGetName(name, sizeof name, device));
    EXPECT(strcmp(name, p.name) == 0, "%s", name);
    CHECK(hipDeviceTotalMem(&bytes, device));
    EXPECT(bytes == p.totalGlobalMem, "%zu bytes", bytes);
    CHECK(hipDeviceGetPCIBusId(bus, sizeof bus, 0));
    EXPECT(strcmp(bus, "0000:03:00.0") == 0, "%s", bus);
    CHECK(hipDeviceGetByPCIBusId(&count, bus));
    EXPECT(count == 0, "device %d", count);
    GIVES(hipSetDevice(1), hipErrorInvalidDevice);
    hipGetLastError();
    CHECK(hipSetDevice(0));

    // What a kernel needs, and how many of its workgroups fit.
    hipModule_t module = load(argv[1]);
    int value, blocks;
    CHECK(hipFuncGetAttribute(&value, HIP_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, kernel_of(module, "multiply")));
    EXPECT(value == 2 * 16 * 16 * 4, "%d bytes of LDS", value);
    CHECK(hipModuleOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel_of(module, "multiply"), 256, 0));
    EXPECT(blocks >= 1 && blocks <= 32, "%d workgroups a compute unit", blocks);
    CHECK(hipModuleUnload(module));
    return finish();
}
