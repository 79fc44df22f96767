/* Dispatches: one, two and three dimensions, grids that are no multiple of the workgroup, arguments, LDS that the packet
 * asks for, scratch memory that grows, a queue that wraps around. */
#include "common.h"

static void add(module_t module, hsa_queue_t *queue, uint32_t n, uint16_t workgroup) {
    kernel_t kernel = kernel_of(module, "add");
    struct {
        uint32_t *a, *b, *out;
        uint32_t n;
    } *arguments = allocate(kernargs, sizeof *arguments);
    *arguments = (typeof(*arguments)){allocate(fine, n * 4), allocate(fine, n * 4), allocate(fine, n * 4 + 4), n};
    for (uint32_t i = 0; i < n; i++) {
        arguments->a[i] = i * 2654435761u;
        arguments->b[i] = i ^ 0x5a5a5a5a;
    }
    arguments->out[n] = 77;
    run(queue, kernel, arguments, n, workgroup);
    for (uint32_t i = 0; i < n; i++)
        EXPECT(arguments->out[i] == arguments->a[i] + arguments->b[i], "n %u, element %u", n, i);
    EXPECT(arguments->out[n] == 77, "written past the end");
    release(arguments->a);
    release(arguments->b);
    release(arguments->out);
    release(arguments);
}

static void dimensions(module_t module, hsa_queue_t *queue) {
    enum { X = 37, Y = 11, Z = 5, ALL = X * Y * Z };
    kernel_t kernel = kernel_of(module, "coordinates");
    struct {
        uint32_t *out, *written, width, height;
    } *arguments = allocate(kernargs, sizeof *arguments);
    *arguments = (typeof(*arguments)){allocate(fine, ALL * 4), allocate(fine, ALL * 4), X, Y};
    hsa_signal_t done = signal_of(1);
    hsa_kernel_dispatch_packet_t packet = dispatch_packet(kernel, arguments, X, 16, done);
    packet.setup = 3;
    packet.workgroup_size_y = 4;
    packet.workgroup_size_z = 2;
    packet.grid_size_y = Y;
    packet.grid_size_z = Z;
    enqueue(queue, &packet, header(HSA_PACKET_TYPE_KERNEL_DISPATCH, true));
    await(done);
    for (uint32_t i = 0; i < ALL; i++) {
        EXPECT(arguments->out[i] == (i % X | i / X % Y << 10 | i / (X * Y) << 20), "element %u", i);
        EXPECT(arguments->written[i] == 1, "element %u written %u times", i, arguments->written[i]);
    }
    release(arguments->out);
    release(arguments->written);
    release(arguments);
}

static void group_memory(module_t module, hsa_queue_t *queue, uint16_t workgroup) {
    kernel_t kernel = kernel_of(module, "reverse");
    struct {
        uint32_t *values, lds_offset;
    } *arguments = allocate(kernargs, sizeof *arguments);
    *arguments = (typeof(*arguments)){allocate(fine, 4 * workgroup * 4), 0};
    for (uint32_t i = 0; i < 4u * workgroup; i++)
        arguments->values[i] = i;
    kernel.lds += workgroup * 4;
    run(queue, kernel, arguments, 4 * workgroup, workgroup);
    for (uint32_t i = 0; i < 4u * workgroup; i++) {
        uint32_t expected = i / workgroup * workgroup + workgroup - 1 - i % workgroup;
        EXPECT(arguments->values[i] == expected, "workgroup of %u, element %u", workgroup, i);
    }
    release(arguments->values);
    release(arguments);
}

static void scratch(module_t module, hsa_queue_t *queue) {
    enum { LANES = 300, WORDS = 600, SEED = 12345 };
    kernel_t kernel = kernel_of(module, "private_array");
    EXPECT(kernel.scratch >= WORDS * 4, "%u bytes of scratch", kernel.scratch);
    struct {
        uint32_t *out, seed;
    } *arguments = allocate(kernargs, sizeof *arguments);
    *arguments = (typeof(*arguments)){allocate(fine, LANES * 4), SEED};
    for (int round = 0; round < 2; round++) {
        // More than the kernel needs, the second time: the queue's scratch must grow.
        kernel.scratch *= 1 + round;
        run(queue, kernel, arguments, LANES, 64);
        for (uint32_t i = 0; i < LANES; i++) {
            uint32_t expected = 0;
            for (uint32_t k = 0; k < WORDS; k++)
                expected += (k * 7 + i) % WORDS * SEED + i;
            EXPECT(arguments->out[i] == expected, "round %d, lane %u", round, i);
            arguments->out[i] = 0;
        }
    }
    release(arguments->out);
    release(arguments);
}

/* Three times as many packets as the queue has slots, each with the barrier bit: a chain. */
static void wrap(module_t module) {
    hsa_queue_t *queue = queue_of(64);
    kernel_t kernel = kernel_of(module, "step");
    struct arguments {
        uint32_t *x, by;
    } *arguments = allocate(kernargs, 200 * sizeof *arguments);
    uint32_t *x = allocate(fine, 4), expected = 0;
    hsa_signal_t done = signal_of(200);
    for (uint32_t i = 0; i < 200; i++) {
        arguments[i] = (struct arguments){x, i};
        expected = 3 * expected + i;
        hsa_kernel_dispatch_packet_t packet = dispatch_packet(kernel, &arguments[i], 64, 64, done);
        enqueue(queue, &packet, header(HSA_PACKET_TYPE_KERNEL_DISPATCH, true));
    }
    await(done);
    EXPECT(*x == expected, "%u, expected %u", *x, expected);
    CHECK(hsa_queue_destroy(queue));
    release(x);
    release(arguments);
}

int main(int argc, char **argv) {
    EXPECT(argc > 1, "usage: %s KERNELS.co", argv[0]);
    start();
    module_t module = load(argv[1]);
    hsa_queue_t *queue = queue_of(256);
    for (uint32_t n = 1; n < 5000; n = n * 3 + 5)
        add(module, queue, n, 64);
    add(module, queue, 4096, 1024);
    add(module, queue, 1000, 1);
    dimensions(module, queue);
    group_memory(module, queue, 64);
    group_memory(module, queue, 1024);
    group_memory(module, queue, 100);
    scratch(module, queue);
    CHECK(hsa_queue_destroy(queue));
    wrap(module);
    unload(module);
    return finish();
}
