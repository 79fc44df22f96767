/* Copies: up, down and across, pinned and pageable, asynchronous, rectangles, fills of 1, 2 and 4 bytes, odd sizes and places,
 * variables of modules. */
#include "common.h"

static uint8_t pattern(size_t i, unsigned seed) { return (uint8_t)(scrambled((uint32_t)i / 3 + seed) >> (i % 3 * 8)); }

static void linear(size_t bytes, bool pinned, bool asynchronous, size_t offset) {
    hipStream_t stream;
    CHECK(hipStreamCreate(&stream));
    uint8_t *out = pinned ? pinned_memory(bytes + 8) : calloc(bytes + 8, 1);
    uint8_t *back = pinned ? pinned_memory(bytes + 8) : calloc(bytes + 8, 1);
    uint8_t *a = device_memory(bytes + 8), *b = device_memory(bytes + 8);
    for (size_t i = 0; i < bytes; i++)
        out[offset + i] = pattern(i, 1);
    if (asynchronous) {
        CHECK(hipMemcpyAsync(a + offset, out + offset, bytes, hipMemcpyHostToDevice, stream));
        CHECK(hipMemcpyAsync(b + 3, a + offset, bytes, hipMemcpyDeviceToDevice, stream));
        CHECK(hipMemcpyAsync(back + offset, b + 3, bytes, hipMemcpyDeviceToHost, stream));
        CHECK(hipStreamSynchronize(stream));
    } else {
        CHECK(hipMemcpy(a + offset, out + offset, bytes, hipMemcpyHostToDevice));
        CHECK(hipMemcpy(b + 3, a + offset, bytes, hipMemcpyDefault));
        CHECK(hipMemcpyDtoH(back + offset, b + 3, bytes));
    }
    for (size_t i = 0; i < bytes; i++)
        EXPECT(back[offset + i] == pattern(i, 1), "%zu bytes, byte %zu", bytes, i);
    EXPECT(back[offset + bytes] == 0, "past the end");
    if (pinned) {
        CHECK(hipHostFree(out));
        CHECK(hipHostFree(back));
    } else {
        free(out);
        free(back);
    }
    CHECK(hipFree(a));
    CHECK(hipFree(b));
    CHECK(hipStreamDestroy(stream));
}

static void rectangle(void) {
    enum { WIDTH = 50, HEIGHT = 30, HOST_PITCH = 77 };
    size_t pitch;
    uint8_t *device, *host = malloc(HOST_PITCH * HEIGHT), *back = calloc(HOST_PITCH, HEIGHT);
    CHECK(hipMallocPitch((void **)&device, &pitch, WIDTH, HEIGHT));
    EXPECT(pitch >= WIDTH, "pitch %zu", pitch);
    for (unsigned i = 0; i < HOST_PITCH * HEIGHT; i++)
        host[i] = pattern(i, 2);
    CHECK(hipMemset2D(device, pitch, 0xee, WIDTH, HEIGHT));
    CHECK(hipMemcpy2D(device, pitch, host, HOST_PITCH, WIDTH - 9, HEIGHT - 2, hipMemcpyHostToDevice));
    CHECK(hipMemcpy2DAsync(back, HOST_PITCH, device, pitch, WIDTH, HEIGHT, hipMemcpyDeviceToHost, NULL));
    CHECK(hipStreamSynchronize(NULL));
    for (unsigned y = 0; y < HEIGHT; y++)
        for (unsigned x = 0; x < HOST_PITCH; x++) {
            uint8_t expected = x >= WIDTH ? 0 : x < WIDTH - 9 && y < HEIGHT - 2 ? host[y * HOST_PITCH + x] : 0xee;
            EXPECT(back[y * HOST_PITCH + x] == expected, "at %u %u: %#x, expected %#x", x, y, back[y * HOST_PITCH + x], expected);
        }
    CHECK(hipFree(device));
    free(host);
    free(back);
}

static void fills(void) {
    enum { BYTES = 10000 };
    uint8_t *device = device_memory(BYTES), *back = malloc(BYTES);
    CHECK(hipMemset(device, 0x11, BYTES));
    CHECK(hipMemsetD8((hipDeviceptr_t)(device + 1), 0x22, 1001));
    CHECK(hipMemsetD16((hipDeviceptr_t)(device + 2000), 0x3344, 501));
    CHECK(hipMemsetD32((hipDeviceptr_t)(device + 4000), (int)0x55667788, 251));
    CHECK(hipMemsetAsync(device + 9000, 0x99, 999, NULL));
    CHECK(hipMemcpy(back, device, BYTES, hipMemcpyDeviceToHost));
    for (unsigned i = 0; i < BYTES; i++) {
        uint8_t expected = 0x11;
        if (i >= 1 && i < 1002)
            expected = 0x22;
        if (i >= 2000 && i < 3002)
            expected = i % 2 ? 0x33 : 0x44;
        if (i >= 4000 && i < 5004)
            expected = (uint8_t)(0x55667788 >> (i % 4 * 8));
        if (i >= 9000 && i < 9999)
            expected = 0x99;
        EXPECT(back[i] == expected, "byte %u is %#x, expected %#x", i, back[i], expected);
    }
    CHECK(hipFree(device));
    free(back);
}

static void variables(hipModule_t module) {
    hipDeviceptr_t table;
    size_t size;
    uint32_t values[8] = {9, 8, 7, 6, 5, 4, 3, 2}, back[8], *out = device_memory(32);
    CHECK(hipModuleGetGlobal(&table, &size, module, "table"));
    EXPECT(size == 32, "%zu bytes", size);
    CHECK(hipMemcpyDtoH(back, table, 32));
    for (uint32_t i = 0; i < 8; i++)
        EXPECT(back[i] == i + 1, "variable %u: %u", i, back[i]);
    CHECK(hipMemcpyHtoD(table, values, 32));
    LAUNCH(kernel_of(module, "read_table"), 1, 64, 0, NULL, &out);
    CHECK(hipMemcpy(back, out, 32, hipMemcpyDeviceToHost));
    EXPECT(memcmp(values, back, 32) == 0, "the kernel saw %u", back[0]);
    CHECK(hipFree(out));
}

int main(int argc, char **argv) {
    EXPECT(argc > 1, "usage: %s KERNELS.co", argv[0]);
    hipModule_t module = load(argv[1]);
    size_t sizes[] = {1, 3, 64, 1000, 65537, 300001};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (unsigned how = 0; how < 4; how++)
            linear(sizes[i], how & 1, how & 2, i % 4 + how);
    rectangle();
    fills();
    variables(module);
    char one;
    GIVES(hipMemcpy(NULL, &one, 1, hipMemcpyHostToDevice), hipErrorInvalidValue);
    hipGetLastError();
    CHECK(hipModuleUnload(module));
    return finish();
}
