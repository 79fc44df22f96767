// The OpenCL builtin functions that hashcat's kernels call, for a compiler without a device library.
// Declared by clang's own opencl-c.h; defined here in terms of the instructions that OpenCL says they are.
#define OVL __attribute__((overloadable))
#define PACKET_U16(n) (((const __constant ushort *)__builtin_amdgcn_dispatch_ptr())[n])

size_t OVL get_local_id(uint d) {
  return d == 0 ? __builtin_amdgcn_workitem_id_x()
       : d == 1 ? __builtin_amdgcn_workitem_id_y()
                : __builtin_amdgcn_workitem_id_z();
}
size_t OVL get_local_size(uint d) { return PACKET_U16(2 + d); }
size_t OVL get_group_id(uint d) {
  return d == 0 ? __builtin_amdgcn_workgroup_id_x()
       : d == 1 ? __builtin_amdgcn_workgroup_id_y()
                : __builtin_amdgcn_workgroup_id_z();
}
size_t OVL get_global_id(uint d) { return get_group_id(d) * get_local_size(d) + get_local_id(d); }

void OVL barrier(cl_mem_fence_flags flags) {
  __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
  __builtin_amdgcn_s_barrier();
  __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
}

uint OVL atomic_add(volatile __global uint *p, uint v) { return __atomic_fetch_add(p, v, __ATOMIC_RELAXED); }
uint OVL atomic_sub(volatile __global uint *p, uint v) { return __atomic_fetch_sub(p, v, __ATOMIC_RELAXED); }
uint OVL atomic_or(volatile __global uint *p, uint v) { return __atomic_fetch_or(p, v, __ATOMIC_RELAXED); }

// For scalars and for the vectors that VECT_SIZE asks for: a bitwise choice, a rotation to the left.
#define FOR_TYPE(type, bits)                                                                            \
  type OVL bitselect(type a, type b, type c) { return (a & ~c) | (b & c); }                             \
  type OVL rotate(type a, type n) { return (a << (n & (bits - 1))) | (a >> ((bits - n) & (bits - 1))); }
#define FOR_WIDTHS(type, bits)                                                                          \
  FOR_TYPE(type, bits) FOR_TYPE(type##2, bits) FOR_TYPE(type##4, bits) FOR_TYPE(type##8, bits) FOR_TYPE(type##16, bits)
FOR_WIDTHS(uint, 32)
FOR_WIDTHS(ulong, 64)

// cl_amd_media_ops.
static inline uint OVL amd_bitalign(uint a, uint b, uint n) { return __builtin_amdgcn_alignbit(a, b, n); }
static inline uint OVL amd_bytealign(uint a, uint b, uint n) { return __builtin_amdgcn_alignbyte(a, b, n); }
static inline uint OVL amd_bfe(uint a, uint offset, uint width) { return __builtin_amdgcn_ubfe(a, offset, width); }
