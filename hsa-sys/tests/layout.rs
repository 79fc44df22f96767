//! Sizes and offsets of every structure that the crates above read or write, as numbers.
//!
//! Sources: HSA Platform System Architecture Specification 1.2, section 2.9 (AQL packets) and 2.8 (queues); HSA Runtime
//! Programmer's Reference Manual 1.2 (`hsa_queue_t`, handles); LLVM's AMDGPU usage guide and ROCr's `amd_hsa_queue.h`
//! and `amd_hsa_signal.h` (what the packet processor reads). The numbers are the ABI: if one changes, hardware, ROCr
//! and this crate no longer agree.

use std::mem::{align_of, offset_of, size_of};

use hsa_sys::*;

/// Asserts a type's size and alignment, then the offset of each field named.
macro_rules! layout {
    ($name:ident, $type:ty, size $size:expr, align $align:expr $(, $field:ident @ $offset:expr)* $(,)?) => {
        #[test]
        fn $name() {
            assert_eq!(size_of::<$type>(), $size, "size of {}", stringify!($type));
            assert_eq!(align_of::<$type>(), $align, "alignment of {}", stringify!($type));
            $(assert_eq!(
                offset_of!($type, $field), $offset, "offset of {}.{}", stringify!($type), stringify!($field)
            );)*
        }
    };
}

layout!(kernel_dispatch_packet, hsa_kernel_dispatch_packet_t, size 64, align 8,
    header @ 0, setup @ 2, workgroup_size_x @ 4, workgroup_size_y @ 6, workgroup_size_z @ 8, reserved0 @ 10,
    grid_size_x @ 12, grid_size_y @ 16, grid_size_z @ 20, private_segment_size @ 24, group_segment_size @ 28,
    kernel_object @ 32, kernarg_address @ 40, reserved2 @ 48, completion_signal @ 56);

layout!(barrier_and_packet, hsa_barrier_and_packet_t, size 64, align 8,
    header @ 0, reserved0 @ 2, reserved1 @ 4, dep_signal @ 8, reserved2 @ 48, completion_signal @ 56);

layout!(barrier_or_packet, hsa_barrier_or_packet_t, size 64, align 8,
    header @ 0, reserved0 @ 2, reserved1 @ 4, dep_signal @ 8, reserved2 @ 48, completion_signal @ 56);

layout!(agent_dispatch_packet, hsa_agent_dispatch_packet_t, size 64, align 8,
    header @ 0, type_ @ 2, reserved0 @ 4, return_address @ 8, arg @ 16, reserved2 @ 48, completion_signal @ 56);

layout!(vendor_packet_header, hsa_amd_vendor_packet_header_t, size 4, align 2,
    header @ 0, AmdFormat @ 2, reserved @ 3);

layout!(barrier_value_packet, hsa_amd_barrier_value_packet_t, size 64, align 8,
    header @ 0, reserved0 @ 4, signal @ 8, value @ 16, mask @ 24, cond @ 32, reserved1 @ 36, reserved2 @ 40,
    reserved3 @ 48, completion_signal @ 56);

layout!(queue, hsa_queue_t, size 40, align 8,
    type_ @ 0, features @ 4, base_address @ 8, doorbell_signal @ 16, size @ 24, reserved1 @ 28, id @ 32);

layout!(amd_queue, amd_queue_t, size 256, align 64,
    hsa_queue @ 0, write_dispatch_id @ 56, group_segment_aperture_base_hi @ 64,
    private_segment_aperture_base_hi @ 68, max_cu_id @ 72, max_wave_id @ 76,
    max_legacy_doorbell_dispatch_id_plus_1 @ 80, legacy_doorbell_lock @ 88, read_dispatch_id @ 128,
    read_dispatch_id_field_base_byte_offset @ 136, compute_tmpring_size @ 140, scratch_resource_descriptor @ 144,
    scratch_backing_memory_location @ 160, scratch_backing_memory_byte_size @ 168,
    scratch_wave64_lane_byte_size @ 176, queue_properties @ 180, queue_inactive_signal @ 192);

layout!(amd_signal, amd_signal_t, size 64, align 64,
    kind @ 0, __bindgen_anon_1 @ 8, event_mailbox_ptr @ 16, event_id @ 24, reserved1 @ 28, start_ts @ 32,
    end_ts @ 40, __bindgen_anon_2 @ 48, reserved3 @ 56);

layout!(agent, hsa_agent_t, size 8, align 8, handle @ 0);
layout!(isa, hsa_isa_t, size 8, align 8, handle @ 0);
layout!(cache, hsa_cache_t, size 8, align 8, handle @ 0);
layout!(signal, hsa_signal_t, size 8, align 8, handle @ 0);
layout!(region, hsa_region_t, size 8, align 8, handle @ 0);
layout!(memory_pool, hsa_amd_memory_pool_t, size 8, align 8, handle @ 0);
layout!(code_object_reader, hsa_code_object_reader_t, size 8, align 8, handle @ 0);
layout!(executable, hsa_executable_t, size 8, align 8, handle @ 0);
layout!(executable_symbol, hsa_executable_symbol_t, size 8, align 8, handle @ 0);
layout!(loaded_code_object, hsa_loaded_code_object_t, size 8, align 8, handle @ 0);

layout!(dim3, hsa_dim3_t, size 12, align 4, x @ 0, y @ 4, z @ 8);

layout!(dispatch_time, hsa_amd_profiling_dispatch_time_t, size 16, align 8, start @ 0, end @ 8);

layout!(async_copy_time, hsa_amd_profiling_async_copy_time_t, size 16, align 8, start @ 0, end @ 8);

layout!(pointer_info, hsa_amd_pointer_info_t, size 56, align 8,
    size @ 0, type_ @ 4, agentBaseAddress @ 8, hostBaseAddress @ 16, sizeInBytes @ 24, userData @ 32,
    agentOwner @ 40, global_flags @ 48);

layout!(memory_fault_info, hsa_amd_gpu_memory_fault_info_t, size 24, align 8,
    agent @ 0, virtual_address @ 8, fault_reason_mask @ 16);

layout!(event, hsa_amd_event_t, size 32, align 8, event_type @ 0, __bindgen_anon_1 @ 8);

layout!(loader_table_1_00, hsa_ven_amd_loader_1_00_pfn_t, size 24, align 8,
    hsa_ven_amd_loader_query_host_address @ 0, hsa_ven_amd_loader_query_segment_descriptors @ 8,
    hsa_ven_amd_loader_query_executable @ 16);

/// Enumerations are 32 bits wide where the ABI passes them, and the packet fields have the spec's positions.
#[test]
fn scalar_types_and_packet_header_bits() {
    assert_eq!(size_of::<hsa_status_t>(), 4);
    assert_eq!(size_of::<hsa_signal_value_t>(), 8);
    assert_eq!(size_of::<hsa_queue_type32_t>(), 4);
    assert_eq!(HSA_PACKET_HEADER_TYPE, 0);
    assert_eq!(HSA_PACKET_HEADER_WIDTH_TYPE, 8);
    assert_eq!(HSA_PACKET_HEADER_BARRIER, 8);
    assert_eq!(HSA_PACKET_HEADER_SCACQUIRE_FENCE_SCOPE, 9);
    assert_eq!(HSA_PACKET_HEADER_SCRELEASE_FENCE_SCOPE, 11);
    assert_eq!(HSA_PACKET_TYPE_VENDOR_SPECIFIC, 0);
    assert_eq!(HSA_PACKET_TYPE_INVALID, 1);
    assert_eq!(HSA_PACKET_TYPE_KERNEL_DISPATCH, 2);
    assert_eq!(HSA_PACKET_TYPE_BARRIER_AND, 3);
    assert_eq!(HSA_PACKET_TYPE_AGENT_DISPATCH, 4);
    assert_eq!(HSA_PACKET_TYPE_BARRIER_OR, 5);
}
