// The kernels of the HSA programs beside this file.
#include "grid.h"

static inline uint size_x(void) { return __builtin_amdgcn_workgroup_size_x(); }

kernel void add(global const uint *a, global const uint *b, global uint *out, uint n) {
    uint i = global_x();
    if (i < n)
        out[i] = a[i] + b[i];
}

// out[linear id] = x | y << 10 | z << 20, and how often each was written.
kernel void coordinates(global uint *out, global uint *written, uint width, uint height) {
    uint x = global_x(), y = global_y();
    uint z = __builtin_amdgcn_workgroup_id_z() * __builtin_amdgcn_workgroup_size_z() + __builtin_amdgcn_workitem_id_z();
    uint i = (z * height + y) * width + x;
    out[i] = x | y << 10 | z << 20;
    __opencl_atomic_fetch_add((global atomic_uint *)&written[i], 1, memory_order_relaxed, memory_scope_device);
}

// One step of a chain that is right only in one order: x = 3 x + by.
kernel void step(global uint *x, uint by) {
    if (global_x() == 0)
        *x = 3 * *x + by;
}

// Every lane adds at system scope.
kernel void count(global atomic_uint *counter, uint by) {
    __opencl_atomic_fetch_add(counter, by, memory_order_relaxed, memory_scope_all_svm_devices);
}

kernel void histogram(global const uint *values, global atomic_uint *bins, uint n, uint of) {
    for (uint i = global_x(); i < n; i += size_x() * 16)
        __opencl_atomic_fetch_add(&bins[values[i] % of], 1, memory_order_relaxed, memory_scope_device);
}

// Lane i of each workgroup sends its value through LDS to lane size - 1 - i. The LDS is the packet's.
kernel void reverse(global uint *values, local uint *lds) {
    uint lane = local_x(), last = size_x() - 1;
    lds[lane] = values[global_x()];
    group_barrier();
    values[global_x()] = lds[last - lane];
}

// A private array that does not fit in registers, read at indexes that the compiler does not know.
#define WORDS 600
kernel void private_array(global uint *out, uint seed) {
    uint words[WORDS];
    uint i = global_x();
    for (uint k = 0; k < WORDS; k++)
        words[k] = k * seed + i;
    uint sum = 0;
    for (uint k = 0; k < WORDS; k++)
        sum += words[(k * 7 + i) % WORDS];
    out[i] = sum;
}

// The hardware id of each workgroup's first wavefront.
kernel void where(global uint *out) {
    __builtin_amdgcn_s_sleep(10);
    if (local_x() == 0)
        out[group_x()] = __builtin_amdgcn_s_getreg(31 << 11 | 4);
}

// Waits until *flag is not 0, for at most so many looks.
kernel void wait_flag(global atomic_uint *flag, uint looks, global uint *seen) {
    uint value = 0;
    for (uint i = 0; i < looks && value == 0; i++) {
        value = __opencl_atomic_load(flag, memory_order_acquire, memory_scope_all_svm_devices);
        __builtin_amdgcn_s_sleep(2);
    }
    if (global_x() == 0)
        *seen = value;
}

// Subtracts one from the value of a signal that nobody is told of: its waiter polls.
kernel void decrement(global atomic_long *value) {
    if (global_x() == 0)
        __opencl_atomic_fetch_sub(value, 1, memory_order_release, memory_scope_all_svm_devices);
}

// hsa_queue_t and hsa_agent_dispatch_packet_t, as far as they are needed.
typedef struct {
    uint type, features;
    ulong base;
    ulong doorbell;
    uint size, reserved;
    ulong id;
} Queue;

typedef struct {
    ushort header, type;
    uint reserved0;
    ulong return_address;
    ulong arguments[4];
    ulong reserved2;
    ulong completion;
} AgentDispatch;

// Each workgroup asks the host for service 7 on (workgroup, 2 * workgroup): it takes a packet of a queue that the host serves.
kernel void ask(global Queue *queue, global atomic_ulong *write_index, global ulong *answers, global atomic_long *doorbell) {
    if (local_x() != 0)
        return;
    ulong group = group_x();
    ulong index = __opencl_atomic_fetch_add(write_index, 1, memory_order_relaxed, memory_scope_all_svm_devices);
    global AgentDispatch *packet = (global AgentDispatch *)queue->base + (index & (queue->size - 1));
    packet->return_address = (ulong)&answers[group];
    packet->arguments[0] = group;
    packet->arguments[1] = 2 * group;
    packet->completion = 0;
    // Type 4, agent dispatch; both fences at system scope; the service in the upper half.
    uint head = 4 | 2 << 9 | 2 << 11 | 7 << 16;
    __opencl_atomic_store((global atomic_uint *)packet, head, memory_order_release, memory_scope_all_svm_devices);
    __opencl_atomic_fetch_max(doorbell, (long)index, memory_order_release, memory_scope_all_svm_devices);
}

kernel void store_to(ulong address, uint value) {
    if (global_x() == 0)
        *(global volatile uint *)address = value;
}

kernel void trap(void) { __builtin_trap(); }

// SOPP opcode 0x7f, which is none.
kernel void illegal(void) { __asm__ volatile(".long 0xbfff0000"); }

kernel void forever(void) {
    for (;;)
        __builtin_amdgcn_s_sleep(100);
}
