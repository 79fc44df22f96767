/* Copies and fills by the runtime: every direction, every kind of memory, sizes and alignments that are no multiple of
 * anything, dependencies on signals of the host and of other copies, rectangles, many at once, refused ones. */
#include "common.h"

static uint8_t pattern(size_t i, unsigned seed) { return (uint8_t)(i * 31 + i / 253 + seed * 7); }

static void there_and_back(size_t bytes, size_t offset) {
    uint8_t *out = allocate(fine, bytes + 64), *back = allocate(fine, bytes + 64);
    uint8_t *a = allocate(vram, bytes + 64), *b = allocate(vram, bytes + 64);
    for (size_t i = 0; i < bytes; i++)
        out[offset + i] = pattern(i, 1);
    hsa_signal_t done[3] = {signal_of(1), signal_of(1), signal_of(1)};
    // The first is submitted last: it has another engine. The other two may share one, which works in order.
    CHECK(hsa_amd_memory_async_copy(b + 3, gpu, a + offset, gpu, bytes, 1, &done[0], done[1]));
    CHECK(hsa_amd_memory_async_copy(back + offset, cpu, b + 3, gpu, bytes, 1, &done[1], done[2]));
    CHECK(hsa_amd_memory_async_copy(a + offset, gpu, out + offset, cpu, bytes, 0, NULL, done[0]));
    EXPECT(wait_for(done[2]) == 0, "copy of %zu bytes failed", bytes);
    for (size_t i = 0; i < bytes; i++)
        EXPECT(back[offset + i] == pattern(i, 1), "%zu bytes at %zu: byte %zu", bytes, offset, i);
    for (size_t i = 0; i < 8; i++) {
        EXPECT(back[offset + bytes + i] == 0, "%zu bytes at %zu: %zu past the end", bytes, offset, i);
        EXPECT(offset <= i || back[offset - 1 - i] == 0, "%zu bytes at %zu: %zu before", bytes, offset, i);
    }
    for (int i = 0; i < 3; i++)
        CHECK(hsa_signal_destroy(done[i]));
    release(out);
    release(back);
    release(a);
    release(b);
}

/* Memory of malloc, locked for the GPU; and hsa_memory_copy, which takes any. */
static void pageable(void) {
    size_t bytes = 100001;
    uint8_t *host = malloc(bytes), *back = malloc(bytes), *device = allocate(vram, bytes), *locked;
    for (size_t i = 0; i < bytes; i++)
        host[i] = pattern(i, 2);
    CHECK(hsa_amd_memory_lock(host, bytes, &gpu, 1, (void **)&locked));
    copy(device, gpu, locked, gpu, bytes);
    CHECK(hsa_amd_memory_unlock(host));
    CHECK(hsa_memory_copy(back, device, bytes));
    EXPECT(memcmp(host, back, bytes) == 0, "pageable memory");
    memset(back, 0, bytes);
    CHECK(hsa_memory_copy(device, back, bytes));
    CHECK(hsa_memory_copy(back, device, bytes));
    for (size_t i = 0; i < bytes; i++)
        EXPECT(back[i] == 0, "byte %zu", i);
    free(host);
    free(back);
    release(device);
}

static void fill(size_t words) {
    uint32_t *device = allocate(vram, words * 4 + 4), *host = allocate(fine, words * 4 + 4);
    CHECK(hsa_amd_memory_fill(device, 0x01020304, words + 1));
    CHECK(hsa_amd_memory_fill(device, 0xdeadbeef, words));
    copy(host, cpu, device, gpu, words * 4 + 4);
    for (size_t i = 0; i < words; i++)
        EXPECT(host[i] == 0xdeadbeef, "word %zu of %zu is %#x", i, words, host[i]);
    EXPECT(host[words] == 0x01020304, "filled past the end: %#x", host[words]);
    CHECK(hsa_amd_memory_fill(host, 7, words));
    for (size_t i = 0; i < words; i++)
        EXPECT(host[i] == 7, "host word %zu", i);
    release(device);
    release(host);
}

static void rectangle(hsa_amd_copy_direction_t direction) {
    enum { WIDTH = 64, HEIGHT = 32, DEPTH = 4, SLICE = WIDTH * HEIGHT, ALL = SLICE * DEPTH };
    bool up = direction == hsaHostToDevice;
    uint8_t *host = allocate(fine, ALL), *device = allocate(vram, ALL), *image = malloc(ALL);
    for (unsigned i = 0; i < ALL; i++)
        image[i] = pattern(i, 3);
    memcpy(host, image, ALL);
    if (up)
        CHECK(hsa_amd_memory_fill(device, 0, ALL / 4));
    else {
        CHECK(hsa_memory_copy(device, image, ALL));
        memset(host, 0, ALL);
    }
    hsa_pitched_ptr_t to = {up ? device : host, WIDTH, SLICE}, from = {up ? host : device, WIDTH, SLICE};
    hsa_dim3_t to_at = {4, 2, 1}, from_at = {8, 5, 0}, size = {20, 17, 3};
    hsa_signal_t done = signal_of(1);
    CHECK(hsa_amd_memory_async_copy_rect(&to, &to_at, &from, &from_at, &size, gpu, direction, 0, NULL, done));
    await(done);
    if (up)
        CHECK(hsa_memory_copy(host, device, ALL));
    for (unsigned z = 0; z < DEPTH; z++)
        for (unsigned y = 0; y < HEIGHT; y++)
            for (unsigned x = 0; x < WIDTH; x++) {
                bool inside = x >= 4 && x < 24 && y >= 2 && y < 19 && z >= 1;
                uint8_t expected = inside ? image[(z - 1) * SLICE + (y + 3) * WIDTH + x + 4] : 0;
                EXPECT(host[z * SLICE + y * WIDTH + x] == expected, "at %u %u %u", x, y, z);
            }
    free(image);
    release(host);
    release(device);
}

/* 64 copies in flight that all wait for one signal of the host. */
static void many(void) {
    enum { COPIES = 64, BYTES = 4099 };
    uint8_t *out = allocate(fine, COPIES * BYTES), *back = allocate(fine, COPIES * BYTES), *device = allocate(vram, COPIES * BYTES);
    hsa_signal_t gate = signal_of(1), up[COPIES], down = signal_of(COPIES);
    for (size_t i = 0; i < COPIES * BYTES; i++)
        out[i] = pattern(i, 4);
    for (size_t i = 0; i < COPIES; i++) {
        up[i] = signal_of(1);
        CHECK(hsa_amd_memory_async_copy(device + i * BYTES, gpu, out + i * BYTES, cpu, BYTES, 1, &gate, up[i]));
        CHECK(hsa_amd_memory_async_copy(back + i * BYTES, cpu, device + i * BYTES, gpu, BYTES, 1, &up[i], down));
    }
    EXPECT(hsa_signal_load_scacquire(down) == COPIES, "a copy did not wait for the host");
    hsa_signal_store_screlease(gate, 0);
    await(down);
    EXPECT(memcmp(out, back, COPIES * BYTES) == 0, "64 copies");
    for (size_t i = 0; i < COPIES; i++)
        CHECK(hsa_signal_destroy(up[i]));
    CHECK(hsa_signal_destroy(gate));
    release(out);
    release(back);
    release(device);
}

static void refused(void) {
    uint8_t *host = allocate(fine, 64), *device = allocate(vram, 64);
    hsa_signal_t done = signal_of(1), none = {0};
    REFUSED(hsa_amd_memory_async_copy(NULL, gpu, host, cpu, 64, 0, NULL, done), HSA_STATUS_ERROR_INVALID_ARGUMENT);
    REFUSED(hsa_amd_memory_async_copy(device, gpu, host, cpu, 64, 1, NULL, done), HSA_STATUS_ERROR_INVALID_ARGUMENT);
    // The header names INVALID_SIGNAL for this.
    REFUSED(hsa_amd_memory_async_copy(device, gpu, host, cpu, 64, 0, NULL, none), HSA_STATUS_ERROR_INVALID_ARGUMENT);
    REFUSED(hsa_amd_memory_fill(NULL, 0, 4), HSA_STATUS_ERROR_INVALID_ARGUMENT);
    REFUSED(hsa_amd_memory_fill(device + 1, 0, 4), HSA_STATUS_ERROR_INVALID_ARGUMENT);
    EXPECT(hsa_signal_load_relaxed(done) == 1, "a refused copy completed");
    CHECK(hsa_signal_destroy(done));
    release(host);
    release(device);
}

int main(void) {
    start();
    size_t sizes[] = {1, 2, 3, 4, 63, 64, 255, 4096, 65537, 1 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t offset = 0; offset < 12; offset += i < 8 ? 5 : 11)
            there_and_back(sizes[i], offset);
    pageable();
    for (size_t words = 1; words < 100000; words = words * 7 + 2)
        fill(words);
    rectangle(hsaHostToDevice);
    rectangle(hsaDeviceToHost);
    many();
    refused();
    return finish();
}
