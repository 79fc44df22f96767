/* Graphs: made node by node and captured from streams that fork and join, launched several times. */
#include "common.h"

static hipModule_t module;
static uint32_t *x, *y, *host;

static hipGraphNode_t step_node(hipGraph_t graph, const hipGraphNode_t *after, size_t count, uint32_t **at, uint32_t *by) {
    hipGraphNode_t node;
    void *arguments[] = {at, by};
    hipKernelNodeParams params = {
        .func = kernel_of(module, "step"), .gridDim = {1, 1, 1}, .blockDim = {64, 1, 1}, .kernelParams = arguments};
    CHECK(hipGraphAddKernelNode(&node, graph, after, count, &params));
    return node;
}

static void launch(hipGraph_t graph, hipStream_t stream, const uint32_t *expected, int times) {
    hipGraphExec_t exec;
    CHECK(hipGraphInstantiate(&exec, graph, NULL, NULL, 0));
    for (int i = 0; i < times; i++) {
        host[0] = host[1] = 0;
        CHECK(hipGraphLaunch(exec, stream));
        CHECK(hipStreamSynchronize(stream));
        EXPECT(host[0] == expected[0] && host[1] == expected[1], "launch %d: %u and %u, expected %u and %u", i, host[0],
               host[1], expected[0], expected[1]);
    }
    CHECK(hipGraphExecDestroy(exec));
    CHECK(hipGraphDestroy(graph));
}

/* Fills and copies in two streams. (HIP 5.2 does not capture launches of a module's kernels: it runs them at once.) */
static void captured(void) {
    hipStream_t stream, other;
    hipEvent_t fork, join;
    hipGraph_t graph;
    uint32_t *x_copy = device_memory(4), *y_copy = device_memory(4);
    CHECK(hipStreamCreateWithFlags(&stream, hipStreamNonBlocking));
    CHECK(hipStreamCreateWithFlags(&other, hipStreamNonBlocking));
    CHECK(hipEventCreateWithFlags(&fork, hipEventDisableTiming));
    CHECK(hipEventCreateWithFlags(&join, hipEventDisableTiming));
    host[0] = host[1] = 0;
    CHECK(hipStreamBeginCapture(stream, hipStreamCaptureModeGlobal));
    CHECK(hipMemsetAsync(x, 0x11, 4, stream));
    CHECK(hipEventRecord(fork, stream));
    CHECK(hipStreamWaitEvent(other, fork, 0));
    CHECK(hipMemsetAsync(y, 0x22, 4, other));
    CHECK(hipMemcpyAsync(x_copy, x, 4, hipMemcpyDeviceToDevice, stream));
    CHECK(hipMemcpyAsync(y_copy, y, 4, hipMemcpyDeviceToDevice, other));
    CHECK(hipEventRecord(join, other));
    CHECK(hipStreamWaitEvent(stream, join, 0));
    CHECK(hipMemcpyAsync(host, x_copy, 4, hipMemcpyDeviceToHost, stream));
    CHECK(hipMemcpyAsync(host + 1, y_copy, 4, hipMemcpyDeviceToHost, stream));
    CHECK(hipStreamEndCapture(stream, &graph));
    CHECK(hipDeviceSynchronize());
    EXPECT(host[0] == 0 && host[1] == 0, "captured work ran");
    size_t nodes = 0;
    CHECK(hipGraphGetNodes(graph, NULL, &nodes));
    EXPECT(nodes == 6, "%zu nodes", nodes);
    const uint32_t expected[2] = {0x11111111, 0x22222222};
    launch(graph, stream, expected, 5);
    CHECK(hipEventDestroy(fork));
    CHECK(hipEventDestroy(join));
    CHECK(hipStreamDestroy(stream));
    CHECK(hipStreamDestroy(other));
    CHECK(hipFree(x_copy));
    CHECK(hipFree(y_copy));
}

static void explicit_nodes(void) {
    hipGraph_t graph;
    hipGraphNode_t zero, chain[3], last;
    uint32_t by[3] = {7, 8, 9};
    CHECK(hipGraphCreate(&graph, 0));
    hipMemsetParams fill = {.dst = x, .elementSize = 4, .value = 0, .width = 1, .height = 1};
    CHECK(hipGraphAddMemsetNode(&zero, graph, NULL, 0, &fill));
    for (int i = 0; i < 3; i++)
        chain[i] = step_node(graph, i ? &chain[i - 1] : &zero, 1, &x, &by[i]);
    CHECK(hipGraphAddMemcpyNode1D(&last, graph, &chain[2], 1, host, x, 4, hipMemcpyDeviceToHost));
    hipStream_t stream;
    CHECK(hipStreamCreate(&stream));
    const uint32_t expected[2] = {(7 * 3 + 8) * 3 + 9, 0};
    launch(graph, stream, expected, 3);
    CHECK(hipStreamDestroy(stream));
}

int main(int argc, char **argv) {
    EXPECT(argc > 1, "usage: %s KERNELS.co", argv[0]);
    module = load(argv[1]);
    x = device_memory(4);
    y = device_memory(4);
    host = pinned_memory(8);
    captured();
    explicit_nodes();
    CHECK(hipFree(x));
    CHECK(hipFree(y));
    CHECK(hipHostFree(host));
    CHECK(hipModuleUnload(module));
    return finish();
}
