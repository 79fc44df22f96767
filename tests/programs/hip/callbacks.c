/* Host functions in streams: called in order, after what is before them and before what is behind, and with the right data. */
#include "common.h"

/* HIP 5.2's header has it, its library in some distributions has not. */
#pragma weak hipLaunchHostFunc

static hipModule_t module;
static uint32_t *x;
static unsigned calls;

typedef struct {
    unsigned turn;
    uint32_t expected;
    hipStream_t stream;
} turn_t;

static void check(const turn_t *turn) {
    if (__atomic_load_n(&calls, __ATOMIC_ACQUIRE) != turn->turn || *x != turn->expected) {
        fprintf(stderr, "call %u: turn %u, x is %u, expected %u\n", calls, turn->turn, *x, turn->expected);
        _Exit(1);
    }
    __atomic_add_fetch(&calls, 1, __ATOMIC_ACQ_REL);
}

static void callback(hipStream_t stream, hipError_t status, void *data) {
    if (stream != ((turn_t *)data)->stream || status != hipSuccess) {
        fprintf(stderr, "callback with status %d\n", status);
        _Exit(1);
    }
    check(data);
}

static void host_function(void *data) { check(data); }

int main(int argc, char **argv) {
    enum { TURNS = 40 };
    EXPECT(argc > 1, "usage: %s KERNELS.co", argv[0]);
    module = load(argv[1]);
    hipStream_t stream;
    CHECK(hipStreamCreate(&stream));
    x = pinned_memory(4);
    static turn_t turns[TURNS];
    uint32_t expected = 0;
    for (uint32_t i = 0; i < TURNS; i++) {
        LAUNCH(kernel_of(module, "step"), 1, 64, 0, stream, &x, &i);
        expected = 3 * expected + i;
        turns[i] = (turn_t){i, expected, stream};
        if (i % 2 || !hipLaunchHostFunc)
            CHECK(hipStreamAddCallback(stream, callback, &turns[i], 0));
        else
            CHECK(hipLaunchHostFunc(stream, host_function, &turns[i]));
    }
    CHECK(hipStreamSynchronize(stream));
    EXPECT(__atomic_load_n(&calls, __ATOMIC_ACQUIRE) == TURNS, "%u calls", calls);
    EXPECT(*x == expected, "%u, expected %u", *x, expected);
    CHECK(hipStreamDestroy(stream));
    CHECK(hipHostFree(x));
    CHECK(hipModuleUnload(module));
    return finish();
}
