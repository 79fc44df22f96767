//! Layouts and numbers of the kernel interface, written from `linux/kfd_ioctl.h` and `drm/amdgpu_drm.h` (MIT-licensed
//! uAPI headers, stable by the kernel's promise).
//!
//! Plain data. Every struct is `Pod` with its padding spelled out, so that bytes from the caller become a struct and
//! back without undefined values; the sizes are asserted beside the types.

use bytemuck::{Pod, Zeroable};

/// An errno value, positive as in `<errno.h>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

/// What an ioctl answers.
pub type Answer = Result<(), Errno>;

macro_rules! layouts {
    ($($(#[$doc:meta])* $name:ident, $size:literal { $($field:ident: $type:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Pod, Zeroable)]
        #[allow(missing_docs)] // the fields carry the header's names
        pub struct $name { $(pub $field: $type),* }
        const _: () = assert!(size_of::<$name>() == $size);
    )*};
}

layouts! {
    /// `kfd_ioctl_get_version_args`.
    GetVersion, 8 { major: u32, minor: u32 }
    /// `kfd_ioctl_create_queue_args`.
    CreateQueue, 96 {
        ring_base_address: u64, write_pointer_address: u64, read_pointer_address: u64, doorbell_offset: u64,
        ring_size: u32, gpu_id: u32, queue_type: u32, queue_percentage: u32, queue_priority: u32, queue_id: u32,
        eop_buffer_address: u64, eop_buffer_size: u64, ctx_save_restore_address: u64, ctx_save_restore_size: u32,
        ctl_stack_size: u32, sdma_engine_id: u32, pad: u32,
    }
    /// `kfd_ioctl_destroy_queue_args`.
    DestroyQueue, 8 { queue_id: u32, pad: u32 }
    /// `kfd_ioctl_update_queue_args`.
    UpdateQueue, 24 {
        ring_base_address: u64, queue_id: u32, ring_size: u32, queue_percentage: u32, queue_priority: u32,
    }
    /// `kfd_ioctl_set_cu_mask_args`.
    SetCuMask, 16 { queue_id: u32, num_cu_mask: u32, cu_mask_ptr: u64 }
    /// `kfd_ioctl_get_queue_wave_state_args`.
    QueueWaveState, 24 {
        ctl_stack_address: u64, ctl_stack_used_size: u32, save_area_used_size: u32, queue_id: u32, pad: u32,
    }
    /// `kfd_ioctl_set_memory_policy_args`.
    SetMemoryPolicy, 32 {
        alternate_aperture_base: u64, alternate_aperture_size: u64, gpu_id: u32, default_policy: u32,
        alternate_policy: u32, pad: u32,
    }
    /// `kfd_ioctl_get_clock_counters_args`.
    ClockCounters, 40 { gpu: u64, cpu: u64, system: u64, system_freq: u64, gpu_id: u32, pad: u32 }
    /// `kfd_process_device_apertures`.
    Apertures, 56 {
        lds_base: u64, lds_limit: u64, scratch_base: u64, scratch_limit: u64, gpuvm_base: u64, gpuvm_limit: u64,
        gpu_id: u32, pad: u32,
    }
    /// `kfd_ioctl_get_process_apertures_new_args`.
    GetApertures, 16 { apertures_ptr: u64, num_of_nodes: u32, pad: u32 }
    /// `kfd_ioctl_create_event_args`.
    CreateEvent, 32 {
        event_page_offset: u64, event_trigger_data: u32, event_type: u32, auto_reset: u32, node_id: u32,
        event_id: u32, event_slot_index: u32,
    }
    /// `kfd_ioctl_destroy_event_args`, and set and reset, which look the same.
    EventId, 8 { event_id: u32, pad: u32 }
    /// `kfd_event_data`; `payload` is the union (memory exception: 32 bytes).
    EventData, 48 { payload: [u8; 32], ext: u64, event_id: u32, pad: u32 }
    /// `kfd_hsa_memory_exception_data`.
    MemoryException, 32 {
        not_present: u32, read_only: u32, no_execute: u32, imprecise: u32, va: u64, gpu_id: u32, error_type: u32,
    }
    /// `kfd_hsa_hw_exception_data`.
    HwException, 16 { reset_type: u32, reset_cause: u32, memory_lost: u32, gpu_id: u32 }
    /// `kfd_ioctl_wait_events_args`.
    WaitEvents, 24 { events_ptr: u64, num_events: u32, wait_for_all: u32, timeout: u32, wait_result: u32 }
    /// `kfd_ioctl_set_scratch_backing_va_args`.
    ScratchBackingVa, 16 { va: u64, gpu_id: u32, pad: u32 }
    /// `kfd_ioctl_get_tile_config_args`.
    TileConfig, 40 {
        tile_config_ptr: u64, macro_tile_config_ptr: u64, num_tile_configs: u32, num_macro_tile_configs: u32,
        gpu_id: u32, gb_addr_config: u32, num_banks: u32, num_ranks: u32,
    }
    /// `kfd_ioctl_set_trap_handler_args`.
    SetTrapHandler, 24 { tba: u64, tma: u64, gpu_id: u32, pad: u32 }
    /// `kfd_ioctl_acquire_vm_args`.
    AcquireVm, 8 { drm_fd: u32, gpu_id: u32 }
    /// `kfd_ioctl_alloc_memory_of_gpu_args`.
    AllocMemory, 40 { va: u64, size: u64, handle: u64, mmap_offset: u64, gpu_id: u32, flags: u32 }
    /// `kfd_ioctl_free_memory_of_gpu_args`.
    FreeMemory, 8 { handle: u64 }
    /// `kfd_ioctl_map_memory_to_gpu_args`, and unmap, which looks the same.
    MapMemory, 24 { handle: u64, device_ids_ptr: u64, n_devices: u32, n_success: u32 }
    /// `kfd_ioctl_alloc_queue_gws_args`.
    QueueGws, 16 { queue_id: u32, num_gws: u32, first_gws: u32, pad: u32 }
    /// `kfd_ioctl_set_xnack_mode_args`.
    XnackMode, 4 { mode: i32 }
    /// `kfd_ioctl_get_available_memory_args`.
    AvailableMemory, 16 { available: u64, gpu_id: u32, pad: u32 }
    /// `kfd_ioctl_smi_events_args`.
    SmiEvents, 8 { gpu_id: u32, anon_fd: u32 }
    /// `kfd_ioctl_runtime_enable_args`.
    RuntimeEnable, 16 { r_debug: u64, mode_mask: u32, capabilities: u32 }
    /// `drm_version`.
    DrmVersion, 64 {
        major: i32, minor: i32, patch: i32, pad: i32, name_len: u64, name: u64, date_len: u64, date: u64,
        desc_len: u64, desc: u64,
    }
    /// `drm_client`.
    DrmClient, 40 { idx: i32, auth: i32, pid: u64, uid: u64, magic: u64, iocs: u64 }
    /// `drm_get_cap`.
    DrmCap, 16 { capability: u64, value: u64 }
    /// `drm_amdgpu_info`; `arg` is the union.
    DrmInfo, 32 { return_pointer: u64, return_size: u32, query: u32, arg: [u32; 4] }
    /// `drm_amdgpu_info_device`.
    DrmDeviceInfo, 368 {
        device_id: u32, chip_rev: u32, external_rev: u32, pci_rev: u32, family: u32, num_shader_engines: u32,
        num_shader_arrays_per_engine: u32, gpu_counter_freq_khz: u32, max_engine_clock_khz: u64,
        max_memory_clock_khz: u64, cu_active_number: u32, cu_ao_mask: u32, cu_bitmap: [[u32; 4]; 4],
        enabled_rb_pipes_mask: u32, num_rb_pipes: u32, num_hw_gfx_contexts: u32, pad: u32, ids_flags: u64,
        virtual_address_offset: u64, virtual_address_max: u64, virtual_address_alignment: u32,
        pte_fragment_size: u32, gart_page_size: u32, ce_ram_size: u32, vram_type: u32, vram_bit_width: u32,
        vce_harvest_config: u32, gc_double_offchip_lds_buf: u32, ngg_addresses: [u64; 4], ngg_sizes: [u32; 4],
        wave_front_size: u32, num_shader_visible_vgprs: u32, num_cu_per_sh: u32, num_tcc_blocks: u32,
        gs_vgt_table_depth: u32, gs_prim_buffer_depth: u32, max_gs_waves_per_vgt: u32, pad1: u32,
        cu_ao_bitmap: [[u32; 4]; 4], high_va_offset: u64, high_va_max: u64, tile_steering_override: u32,
        pad2: u32, tcc_disabled_mask: u64,
    }
}

/// Queue types of CREATE_QUEUE.
pub mod queue_type {
    /// PM4 compute.
    pub const COMPUTE: u32 = 0;
    /// System DMA.
    pub const SDMA: u32 = 1;
    /// AQL compute.
    pub const COMPUTE_AQL: u32 = 2;
    /// System DMA over XGMI.
    pub const SDMA_XGMI: u32 = 3;
    /// System DMA on a given engine.
    pub const SDMA_BY_ENGINE: u32 = 4;
}

/// Flags of ALLOC_MEMORY_OF_GPU.
pub mod alloc_flag {
    /// Device-local memory.
    pub const VRAM: u32 = 1;
    /// System memory of the driver.
    pub const GTT: u32 = 1 << 1;
    /// System memory of the caller.
    pub const USERPTR: u32 = 1 << 2;
    /// The process's doorbells.
    pub const DOORBELL: u32 = 1 << 3;
    /// The remapped register page.
    pub const MMIO_REMAP: u32 = 1 << 4;
    /// Exactly one of these must be given.
    pub const KINDS: u32 = 0x1f;
    /// The range is mapped twice, back to back.
    pub const AQL_QUEUE_MEM: u32 = 1 << 27;
    /// GPU may fetch instructions.
    pub const EXECUTABLE: u32 = 1 << 30;
    /// GPU may write.
    pub const WRITABLE: u32 = 1 << 31;
}

/// Event types of CREATE_EVENT.
pub mod event_type {
    /// A signal, raised by the GPU or SET_EVENT.
    pub const SIGNAL: u32 = 0;
    /// Reset of the GPU or of an engine.
    pub const HW_EXCEPTION: u32 = 3;
    /// Debug events behave as signals.
    pub const DEBUG: u32 = 5;
    /// A GPU memory fault.
    pub const MEMORY: u32 = 8;
    /// Highest type.
    pub const LAST: u32 = 8;
}

/// Values of `wait_result`.
pub mod wait_result {
    /// The condition was met.
    pub const COMPLETE: u32 = 0;
    /// Time ran out.
    pub const TIMEOUT: u32 = 1;
    /// An event was destroyed meanwhile.
    pub const FAIL: u32 = 2;
}

/// KFD's ioctl numbers and names, so that logs and errors speak the header's language.
pub const KFD_NAMES: &[(u32, &str)] = &[
    (0x01, "GET_VERSION"),
    (0x02, "CREATE_QUEUE"),
    (0x03, "DESTROY_QUEUE"),
    (0x04, "SET_MEMORY_POLICY"),
    (0x05, "GET_CLOCK_COUNTERS"),
    (0x06, "GET_PROCESS_APERTURES"),
    (0x07, "UPDATE_QUEUE"),
    (0x08, "CREATE_EVENT"),
    (0x09, "DESTROY_EVENT"),
    (0x0a, "SET_EVENT"),
    (0x0b, "RESET_EVENT"),
    (0x0c, "WAIT_EVENTS"),
    (0x0d, "DBG_REGISTER"),
    (0x0e, "DBG_UNREGISTER"),
    (0x0f, "DBG_ADDRESS_WATCH"),
    (0x10, "DBG_WAVE_CONTROL"),
    (0x11, "SET_SCRATCH_BACKING_VA"),
    (0x12, "GET_TILE_CONFIG"),
    (0x13, "SET_TRAP_HANDLER"),
    (0x14, "GET_PROCESS_APERTURES_NEW"),
    (0x15, "ACQUIRE_VM"),
    (0x16, "ALLOC_MEMORY_OF_GPU"),
    (0x17, "FREE_MEMORY_OF_GPU"),
    (0x18, "MAP_MEMORY_TO_GPU"),
    (0x19, "UNMAP_MEMORY_FROM_GPU"),
    (0x1a, "SET_CU_MASK"),
    (0x1b, "GET_QUEUE_WAVE_STATE"),
    (0x1c, "GET_DMABUF_INFO"),
    (0x1d, "IMPORT_DMABUF"),
    (0x1e, "ALLOC_QUEUE_GWS"),
    (0x1f, "SMI_EVENTS"),
    (0x20, "SVM"),
    (0x21, "SET_XNACK_MODE"),
    (0x22, "CRIU_OP"),
    (0x23, "AVAILABLE_MEMORY"),
    (0x24, "EXPORT_DMABUF"),
    (0x25, "RUNTIME_ENABLE"),
    (0x26, "DBG_TRAP"),
    (0x80, "IPC_IMPORT_HANDLE"),
    (0x81, "IPC_EXPORT_HANDLE"),
    (0x82, "DBG_TRAP_OLD"),
    (0x83, "CROSS_MEMORY_COPY"),
    (0x84, "RLC_SPM"),
];

/// The header's name of a KFD ioctl, or "unknown".
pub fn kfd_name(nr: u32) -> &'static str {
    KFD_NAMES.iter().find(|(n, _)| *n == nr).map_or("unknown", |(_, name)| name)
}

/// The number of a KFD ioctl by name.
pub fn kfd_nr(name: &str) -> Option<u32> {
    KFD_NAMES.iter().find(|(_, n)| *n == name).map(|(nr, _)| *nr)
}

/// The parts of an ioctl request word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Command number.
    pub nr: u32,
    /// Type letter: `K` for KFD, `d` for DRM.
    pub letter: u8,
    /// Bytes of the argument.
    pub size: usize,
    /// The kernel reads the argument.
    pub reads: bool,
    /// The kernel writes the argument.
    pub writes: bool,
}

impl Request {
    /// Splits a request word as `asm-generic/ioctl.h` lays it out.
    pub fn decode(word: u64) -> Self {
        Self {
            nr: (word & 0xff) as u32,
            letter: (word >> 8) as u8,
            size: (word >> 16) as usize & 0x3fff,
            reads: word & (1 << 30) != 0,
            writes: word & (1 << 31) != 0,
        }
    }

    /// Builds a request word that both reads and writes `size` bytes.
    pub const fn word(letter: u8, nr: u32, size: usize) -> u64 {
        (3 << 30) | ((size as u64) << 16) | ((letter as u64) << 8) | nr as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn offsets_are_those_of_the_headers() {
        assert_eq!(offset_of!(CreateQueue, eop_buffer_address), 56);
        assert_eq!(offset_of!(CreateQueue, queue_id), 52);
        assert_eq!(offset_of!(AllocMemory, flags), 36);
        assert_eq!(offset_of!(CreateEvent, event_id), 24);
        assert_eq!(offset_of!(EventData, event_id), 40);
        assert_eq!(offset_of!(DrmDeviceInfo, cu_bitmap), 56);
        assert_eq!(offset_of!(DrmDeviceInfo, virtual_address_offset), 144);
        assert_eq!(offset_of!(DrmDeviceInfo, wave_front_size), 240);
    }

    #[test]
    fn a_request_word_round_trips() {
        let request = Request::decode(Request::word(b'K', 0x16, 40));
        assert_eq!(request, Request { nr: 0x16, letter: b'K', size: 40, reads: true, writes: true });
    }
}
