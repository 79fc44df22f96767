// Where a work-item is, from compiler builtins alone (no device library is linked).
//
// A group's size comes from the AQL packet, so grids that are no multiple of the group are right too.
#ifndef ECLIP_GRID_H
#define ECLIP_GRID_H

static inline uint local_x(void) { return __builtin_amdgcn_workitem_id_x(); }
static inline uint local_y(void) { return __builtin_amdgcn_workitem_id_y(); }
static inline uint group_x(void) { return __builtin_amdgcn_workgroup_id_x(); }
static inline uint group_y(void) { return __builtin_amdgcn_workgroup_id_y(); }
static inline uint global_x(void) { return group_x() * __builtin_amdgcn_workgroup_size_x() + local_x(); }
static inline uint global_y(void) { return group_y() * __builtin_amdgcn_workgroup_size_y() + local_y(); }

// Workgroup barrier that also orders LDS and global memory inside the workgroup.
static inline void group_barrier(void) {
    __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
    __builtin_amdgcn_s_barrier();
    __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
}

#endif
