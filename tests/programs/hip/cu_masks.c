/* Streams with CU masks, which are read back: a kernel alone runs on exactly those compute units, several at once on no
 * others. */
#include "common.h"

enum { GROUPS = 480 };

/* Bit i is compute unit i / 4 of shader engine i % 4, as in this GPU's masks. */
static uint64_t units(const uint32_t *ids) {
    uint64_t seen = 0;
    for (int i = 0; i < GROUPS; i++)
        seen |= 1ull << ((ids[i] >> 8 & 15) * 4 + (ids[i] >> 13 & 3));
    return seen;
}

int main(int argc, char **argv) {
    EXPECT(argc > 1, "usage: %s KERNELS.co", argv[0]);
    hipModule_t module = load(argv[1]);
    const uint64_t masks[] = {0xff, 0x111111111111111, 0xeeeeeeeeeeeeeee, 0xf0f, 0xfffffffffffffff};
    enum { N = sizeof masks / sizeof *masks };
    hipStream_t streams[N];
    uint32_t *ids[N];
    for (int i = 0; i < N; i++) {
        uint32_t mask[2] = {(uint32_t)masks[i], (uint32_t)(masks[i] >> 32)}, back[2] = {0};
        CHECK(hipExtStreamCreateWithCUMask(&streams[i], 2, mask));
        CHECK(hipExtStreamGetCUMask(streams[i], 2, back));
        EXPECT(back[0] == mask[0] && back[1] == mask[1], "mask %#x%08x, read %#x%08x", mask[1], mask[0], back[1], back[0]);
        ids[i] = pinned_memory(GROUPS * 4);
    }
    for (int i = 0; i < N; i++) {
        LAUNCH(kernel_of(module, "where"), GROUPS, 64, 0, streams[i], &ids[i]);
        CHECK(hipStreamSynchronize(streams[i]));
        EXPECT(units(ids[i]) == masks[i], "mask %#lx, ran on %#lx", (unsigned long)masks[i], (unsigned long)units(ids[i]));
    }
    for (int i = 0; i < N; i++)
        LAUNCH(kernel_of(module, "where"), GROUPS, 64, 0, streams[i], &ids[i]);
    CHECK(hipDeviceSynchronize());
    for (int i = 0; i < N; i++) {
        EXPECT((units(ids[i]) & ~masks[i]) == 0, "mask %#lx, ran on %#lx", (unsigned long)masks[i], (unsigned long)units(ids[i]));
        CHECK(hipStreamDestroy(streams[i]));
        CHECK(hipHostFree(ids[i]));
    }
    hipStream_t stream;
    uint32_t none[2] = {0, 0};
    GIVES(hipExtStreamCreateWithCUMask(&stream, 0, none), hipErrorInvalidValue);
    hipGetLastError();
    CHECK(hipModuleUnload(module));
    return finish();
}
