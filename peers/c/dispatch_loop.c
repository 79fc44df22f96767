/* Kernel dispatch as C programs for the HSA runtime do it: for each packet, take a slot with the API, fill in the fields,
 * store the header with release order, ring the doorbell with the API.
 *
 * The types are those of hsa.h and the functions come from the caller, so that building this needs no HSA headers. Callers
 * go through function pointers; a program that links to the runtime goes through its procedure linkage table, which is as
 * much. One thread at a time for each queue. */
#include <stddef.h>
#include <stdint.h>

/* hsa_signal_t */
typedef struct {
    uint64_t handle;
} signal_t;

/* hsa_queue_t of the large model */
typedef struct {
    uint32_t type;
    uint32_t features;
    void *base_address;
    signal_t doorbell_signal;
    uint32_t size;
    uint32_t reserved1;
    uint64_t id;
} queue_t;

/* hsa_kernel_dispatch_packet_t */
typedef struct {
    uint16_t header;
    uint16_t setup;
    uint16_t workgroup_size_x;
    uint16_t workgroup_size_y;
    uint16_t workgroup_size_z;
    uint16_t reserved0;
    uint32_t grid_size_x;
    uint32_t grid_size_y;
    uint32_t grid_size_z;
    uint32_t private_segment_size;
    uint32_t group_segment_size;
    uint64_t kernel_object;
    void *kernarg_address;
    uint64_t reserved2;
    signal_t completion_signal;
} packet_t;

_Static_assert(sizeof(queue_t) == 40, "hsa_queue_t");
_Static_assert(offsetof(queue_t, doorbell_signal) == 16, "hsa_queue_t");
_Static_assert(sizeof(packet_t) == 64, "hsa_kernel_dispatch_packet_t");
_Static_assert(offsetof(packet_t, completion_signal) == 56, "hsa_kernel_dispatch_packet_t");

/* Functions of the runtime; mirrored in c_loop.rs. */
typedef struct {
    /* hsa_queue_add_write_index_relaxed */
    uint64_t (*add_write_index)(const queue_t *, uint64_t);
    /* hsa_queue_load_read_index_scacquire */
    uint64_t (*load_read_index)(const queue_t *);
    /* hsa_signal_store_relaxed */
    void (*signal_store_relaxed)(signal_t, int64_t);
    /* hsa_signal_store_screlease */
    void (*signal_store_screlease)(signal_t, int64_t);
} functions_t;

/* What is launched; mirrored in c_loop.rs. */
typedef struct {
    uint64_t kernel_object;
    void *kernarg_address;
    uint32_t grid[3];
    uint16_t workgroup[3];
    uint16_t dimensions;
    uint32_t private_segment_size;
    uint32_t group_segment_size;
} launch_t;

/* Kernel dispatch (2), acquire and release at system scope (2 << 9, 2 << 11): what samples write, so that the host sees the
 * results of every kernel. */
enum { HEADER = 2 | 2 << 9 | 2 << 11 };

static inline void store_release(packet_t *packet, uint16_t header, uint16_t setup) {
    __atomic_store_n((uint32_t *)packet, header | (uint32_t)setup << 16, __ATOMIC_RELEASE);
}

/* Dispatches one kernel. `read` is a value that the read index has reached: the index itself is looked at only when by that
 * value the ring might be full. */
static inline void dispatch(const functions_t *hsa, const queue_t *queue, const launch_t *launch, signal_t signal,
                            uint64_t *read) {
    uint64_t index = hsa->add_write_index(queue, 1);
    while (index - *read >= queue->size)
        *read = hsa->load_read_index(queue);
    packet_t *packet = (packet_t *)queue->base_address + (index & (queue->size - 1));
    packet->workgroup_size_x = launch->workgroup[0];
    packet->workgroup_size_y = launch->workgroup[1];
    packet->workgroup_size_z = launch->workgroup[2];
    packet->reserved0 = 0;
    packet->grid_size_x = launch->grid[0];
    packet->grid_size_y = launch->grid[1];
    packet->grid_size_z = launch->grid[2];
    packet->private_segment_size = launch->private_segment_size;
    packet->group_segment_size = launch->group_segment_size;
    packet->kernel_object = launch->kernel_object;
    packet->kernarg_address = launch->kernarg_address;
    packet->reserved2 = 0;
    packet->completion_signal = signal;
    store_release(packet, HEADER, launch->dimensions);
    hsa->signal_store_screlease(queue->doorbell_signal, (int64_t)index);
}

/* `count` dispatches without a completion signal. */
void peers_dispatch_loop(const functions_t *hsa, const queue_t *queue, const launch_t *launch, uint32_t count,
                         uint64_t *read) {
    const signal_t none = {0};
    for (uint32_t i = 0; i < count; i++)
        dispatch(hsa, queue, launch, none, read);
}

/* `count` dispatches, each with a completion signal of its own out of `signals`, armed with 1: for a program that later waits
 * for any of them. */
void peers_dispatch_loop_signals(const functions_t *hsa, const queue_t *queue, const launch_t *launch,
                                 const signal_t *signals, uint32_t count, uint64_t *read) {
    for (uint32_t i = 0; i < count; i++) {
        hsa->signal_store_relaxed(signals[i], 1);
        dispatch(hsa, queue, launch, signals[i], read);
    }
}
