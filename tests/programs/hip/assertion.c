/* A kernel whose assertion fails, a trap, ends the program with an error and does not hang it; one whose assertion holds does
 * not. The failing one runs in a child. */
#include "common.h"
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N = 256 };

static hipError_t check(const char *kernels, uint32_t limit) {
    hipModule_t module = load(kernels);
    uint32_t *values = pinned_memory(N * 4);
    for (uint32_t i = 0; i < N; i++)
        values[i] = i;
    LAUNCH(kernel_of(module, "checked"), 1, N, 0, NULL, &values, &limit);
    hipError_t error = hipDeviceSynchronize();
    CHECK(hipHostFree(values));
    return error;
}

int main(int argc, char **argv) {
    EXPECT(argc > 1, "usage: %s KERNELS.co", argv[0]);
    // Before HIP is used: a child of a process that uses the device cannot use it.
    pid_t child = fork();
    if (child == 0)
        // HIP 5.2 aborts the process; an error would do, too.
        _exit(check(argv[1], N - 1) == hipSuccess ? 0 : 3);
    int status, looks = 0;
    while (waitpid(child, &status, WNOHANG) == 0) {
        usleep(10000);
        if (++looks == 2000)
            kill(child, SIGKILL);
        EXPECT(looks < 2000, "the child hangs");
    }
    EXPECT((WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) || (WIFEXITED(status) && WEXITSTATUS(status) == 3),
           "the child ended with status %#x", status);
    GIVES(check(argv[1], N), hipSuccess);
    return finish();
}
