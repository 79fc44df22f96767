/* The runtime's own life: initialised twice, shut down, initialised again; children that fork and exec; an end with work
 * pending, and one with a kernel that never ends. */
#include "common.h"
#include <sys/wait.h>
#include <unistd.h>

static const char *self, *kernels;

static void work(void) {
    module_t module = load(kernels);
    hsa_queue_t *queue = queue_of(64);
    uint32_t **arguments = allocate(kernargs, 16);
    *arguments = allocate(fine, 4);
    *(uint32_t *)(arguments + 1) = 21;
    run(queue, kernel_of(module, "step"), arguments, 64, 64);
    EXPECT(**arguments == 21, "%u", **arguments);
    release(*arguments);
    release(arguments);
    CHECK(hsa_queue_destroy(queue));
    unload(module);
}

static unsigned open_files(void) {
    unsigned count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += access((char[32]){0}, F_OK) != 0 && dup2(fd, fd) == fd;
    return count;
}

static void again(void) {
    cpu.handle = gpu.handle = 0;
    start();
    work();
    CHECK(hsa_shut_down());
}

/* Starts this program anew with another mode and gives what became of it. */
static int child(const char *mode) {
    pid_t pid = fork();
    if (pid == 0) {
        execl(self, self, kernels, mode, NULL);
        _exit(99);
    }
    int status;
    // A child that hangs is killed.
    for (int i = 0; i < SECONDS * 100; i++) {
        if (waitpid(pid, &status, WNOHANG) == pid)
            return status;
        usleep(10000);
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    EXPECT(false, "the child %s hangs", mode);
    return status;
}

int main(int argc, char **argv) {
    EXPECT(argc > 1, "usage: %s KERNELS.co", argv[0]);
    self = "/proc/self/exe";
    kernels = argv[1];
    const char *mode = argc > 2 && strchr(argv[2], '/') == NULL ? argv[2] : "";
    if (*mode) {
        start();
        if (strcmp(mode, "work") == 0) {
            work();
            return finish();
        }
        // The rest end without shutting down, with work that is not done.
        module_t module = load(kernels);
        hsa_queue_t *queue = queue_of(64);
        hsa_signal_t none = {0};
        bool forever = strcmp(mode, "forever") == 0;
        hsa_kernel_dispatch_packet_t packet = dispatch_packet(kernel_of(module, "forever"), NULL, 64 * 100, 64, none);
        hsa_barrier_and_packet_t barrier = {.dep_signal = {signal_of(1)}};
        enqueue(queue, forever ? (void *)&packet : (void *)&barrier,
                header(forever ? HSA_PACKET_TYPE_KERNEL_DISPATCH : HSA_PACKET_TYPE_BARRIER_AND, false));
        usleep(5000);
        if (strcmp(mode, "abrupt") == 0)
            _exit(7);
        exit(7);
    }
    start();
    CHECK(hsa_init());
    work();
    CHECK(hsa_shut_down());
    work();
    // A child of a process that uses the device: its own runtime in a new program works.
    int status = child("work");
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a new program: status %#x", status);
    work();
    CHECK(hsa_shut_down());
    hsa_queue_t *queue;
    REFUSED(hsa_queue_create(gpu, 64, HSA_QUEUE_TYPE_MULTI, NULL, NULL, 0, 0, &queue), HSA_STATUS_ERROR_NOT_INITIALIZED);
    again();
    unsigned before = open_files();
    for (int i = 0; i < 4; i++)
        again();
    EXPECT(open_files() == before, "%u descriptors, %u before", open_files(), before);

    const char *modes[] = {"pending", "abrupt", "forever"};
    for (int i = 0; i < 3; i++) {
        status = child(modes[i]);
        EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 7, "%s: status %#x", modes[i], status);
    }
    printf("all right: %u checks\n", checks);
    return 0;
}
